// The messages of grpc.health.v1.Health/Check (grpc/doc/health-checking.md), by hand: a few bytes
// of protobuf, each in the prefix of a gRPC message.

import Primitives

enum GRPCHealth {
  static var path: StaticString { "/grpc.health.v1.Health/Check" }
  /// The value of `status` that passes.
  static var serving: UInt64 { 1 }
  /// The most of a response that is read. Servers send 7 bytes.
  static var responseByteMax: Int { 1024 }

  /// HealthCheckRequest with `service` as its field 1, which is left out if it is empty.
  static func request(service: String) -> [UInt8] {
    var message: [UInt8] = []
    if !service.isEmpty {
      message.append(0x0A)
      append(service.utf8.count, to: &message)
      message += Array(service.utf8)
    }
    var bytes: [UInt8] = [0]
    for shift in [24, 16, 8, 0] { bytes.append(UInt8(message.count >> shift & 0xFF)) }
    return bytes + message
  }

  /// `status` of HealthCheckResponse, its field 1; 0 if it is absent. Nil if the bytes are not one
  /// whole message, or a compressed one.
  static func status(in bytes: [UInt8]) -> UInt64? {
    guard bytes.count >= 5, bytes[0] == 0 else { return nil }
    let length = bytes[1..<5].reduce(0) { $0 << 8 | Int($1) }
    guard length == bytes.count - 5 else { return nil }
    var status: UInt64 = 0
    var position = 5
    while position < bytes.count {
      guard let key = varint(bytes, &position) else { return nil }
      // The number of the field, and the type of its value in the lowest three bits.
      switch key & 7 {
      case 0:
        guard let value = varint(bytes, &position) else { return nil }
        if key >> 3 == 1 { status = value }
      case 1: position += 8
      case 2:
        guard let count = varint(bytes, &position), count <= UInt64(bytes.count) else { return nil }
        position += Int(count)
      case 5: position += 4
      default: return nil
      }
      if position > bytes.count { return nil }
    }
    return status
  }

  private static func append(_ number: Int, to bytes: inout [UInt8]) {
    var rest = number
    while rest >= 0x80 {
      bytes.append(UInt8(rest & 0x7F) | 0x80)
      rest >>= 7
    }
    bytes.append(UInt8(rest))
  }

  private static func varint(_ bytes: [UInt8], _ position: inout Int) -> UInt64? {
    var value: UInt64 = 0
    for index in 0..<10 where position < bytes.count {
      let byte = bytes[position]
      position += 1
      value |= UInt64(byte & 0x7F) << UInt64(7 * index)
      if byte < 0x80 { return value }
    }
    return nil
  }
}
