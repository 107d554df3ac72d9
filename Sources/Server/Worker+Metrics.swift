// Which counter an event belongs to.

import Balancing
import HTTP1
import Metrics
import Proxy
import Reactor

extension Worker where IO: ~Copyable {
  mutating func countResponse(status: UInt16) {
    if let metric = Metric.responses(status: Int(status)) { metrics.add(metric) }
  }

  mutating func countTolerated(_ tolerated: ToleratedReasons) {
    if tolerated.isEmpty { return }
    for reason in HTTP1Error.tolerable where tolerated.contains(reason) {
      if let metric = Metric(tolerating: reason) { metrics.add(metric) }
    }
  }

  mutating func countFailure(_ failure: ExchangeFailure) {
    switch failure {
    case .upstream(let cause): metrics.add(Metric(cause))
    case .unavailable(.queueFull): metrics.add(.failuresQueueFull)
    case .unavailable(.queueTimeout): metrics.add(.failuresQueueTimeout)
    case .unavailable: metrics.add(.failuresNoMember)
    default: break
    }
  }
}

extension Metric {
  /// Why a request was refused.
  init(refusing error: HTTP1Error) {
    self =
      switch error {
      case .bareLineFeed: .refusedBareLineFeed
      case .bareCarriageReturn: .refusedBareCarriageReturn
      case .controlCharacter: .refusedControlCharacter
      case .tooManyEmptyLines: .refusedTooManyEmptyLines
      case .badRequestLine: .refusedBadRequestLine
      case .badMethod: .refusedBadMethod
      case .badTarget: .refusedBadTarget
      case .targetTooLong: .refusedTargetTooLong
      case .badVersion: .refusedBadVersion
      case .headTooLarge: .refusedHeadTooLarge
      case .tooManyFields: .refusedTooManyFields
      case .obsFold: .refusedObsFold
      case .spaceBeforeColon: .refusedSpaceBeforeColon
      case .badFieldName: .refusedBadFieldName
      case .missingHost: .refusedMissingHost
      case .duplicateHost: .refusedDuplicateHost
      case .badHost: .refusedBadHost
      case .contentLengthWithTransferEncoding: .refusedContentLengthWithTransferEncoding
      case .differingContentLengths: .refusedDifferingContentLengths
      case .repeatedContentLength: .refusedRepeatedContentLength
      case .badContentLength: .refusedBadContentLength
      case .transferEncodingInHTTP10: .refusedTransferEncodingInHTTP10
      case .transferEncodingNotChunked: .refusedTransferEncodingNotChunked
      case .unknownTransferCoding: .refusedUnknownTransferCoding
      case .badChunkSize: .refusedBadChunkSize
      case .chunkExtensionTooLong: .refusedChunkExtensionTooLong
      case .badChunkEnd: .refusedBadChunkEnd
      case .trailerTooLarge: .refusedTrailerTooLarge
      // Only responses have a status line. An end within a body is an abort, and counted as one.
      case .badStatusLine, .truncatedBody: .refusedBadRequestLine
      }
  }

  /// What a request was forgiven; nil for what never is.
  init?(tolerating error: HTTP1Error) {
    switch error {
    case .obsFold: self = .toleratedObsFold
    case .spaceBeforeColon: self = .toleratedSpaceBeforeColon
    case .badFieldName: self = .toleratedBadFieldName
    case .repeatedContentLength: self = .toleratedRepeatedContentLength
    default: return nil
    }
  }

  init(_ cause: FailureCause) {
    self =
      switch cause {
      case .connectRefused: .failuresRefused
      case .connectTimeout: .failuresConnectTimeout
      case .connectFailed: .failuresConnect
      case .resetBeforeResponse, .closedBeforeResponse: .failuresReset
      case .responseTimeout, .responseStalled: .failuresResponseTimeout
      case .badResponse: .failuresMalformed
      case .truncatedResponse: .failuresTruncated
      case .status: .failuresStatus
      }
  }
}

extension FailureCause {
  /// Why a dial failed.
  init(connecting error: SystemError) {
    self =
      switch error {
      case .connectionRefused: .connectRefused
      case .timedOut: .connectTimeout
      default: .connectFailed
      }
  }
}
