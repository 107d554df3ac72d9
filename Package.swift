// swift-tools-version: 6.2
// The target graph is the architecture (docs/ARCHITECTURE.md): a target may import only what it
// declares here, and Tests/TidyTests holds every import line to the same table.

import PackageDescription

let strict: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .strictMemorySafety(),
  .treatWarning("StrictMemorySafety", as: .error),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .enableExperimentalFeature("Lifetimes"),
]

let testing: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .enableExperimentalFeature("Lifetimes"),
]

func target(
  _ name: String, _ dependencies: [Target.Dependency] = [], embedding resources: [String] = []
) -> Target {
  .target(
    name: name, dependencies: dependencies, resources: resources.map { .embedInCode($0) },
    swiftSettings: strict)
}

/// Compiling these tests with optimisation takes longer than running them, so they are compiled
/// without, even if the code that they test is optimised.
func tests(
  _ name: String, _ dependencies: [Target.Dependency], exclude: [String] = [],
  optimised: Bool = false
) -> Target {
  .testTarget(
    name: "\(name)Tests", dependencies: dependencies, exclude: exclude,
    swiftSettings: testing + (optimised ? [] : [.unsafeFlags(["-Onone"])]))
}

/// What the binary says it was built from: `martlet_build_info` and `/v1/state`. scripts/release
/// sets it; asking git here would be answered from the cache of manifests, with an older commit.
let commit = Context.environment["MARTLET_COMMIT"] ?? "unknown"

let package = Package(
  name: "martlet",
  products: [.executable(name: "martlet", targets: ["martlet"])],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2"),
    .package(url: "https://github.com/apple/swift-log", exact: "1.16.2"),
  ],
  targets: [
    .executableTarget(
      name: "martlet",
      dependencies: [
        "Server", "Configuration", "Reactor", "Primitives",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Logging", package: "swift-log"),
      ],
      swiftSettings: strict),

    // The load generator of the benchmark: for scripts/bench and the tests, not part of a release.
    .executableTarget(
      name: "steady",
      dependencies: [
        "HTTP1", "HTTP", "Reactor", "Metrics", "Primitives",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      path: "Benchmarks/Steady", swiftSettings: strict),

    target(
      "Server",
      [
        "Proxy", "HTTP", "HTTP1", "HTTP2", "ProxyProtocol", "Balancing", "TLS", "Reactor",
        "Metrics", "Configuration", "Primitives",
        .product(name: "Logging", package: "swift-log"),
      ], embedding: ["Admin/dashboard.html"]),
    target("Proxy", ["HTTP", "Balancing", "Primitives"]),
    target("HTTP", ["Primitives"]),
    target("HTTP1", ["HTTP", "Primitives"]),
    target("HTTP2", ["HTTP", "Primitives"]),
    target("ProxyProtocol", ["Primitives"]),
    target("Balancing", ["Primitives"]),
    target("TLS", ["COpenSSL", "Primitives"]),
    target("Reactor", ["CLinux", "Primitives"]),
    target("Metrics", ["Primitives"]),
    target("Configuration", ["Primitives"]),
    target("Primitives"),

    .systemLibrary(
      name: "COpenSSL", pkgConfig: "openssl", providers: [.apt(["libssl-dev"])]),
    .target(
      name: "CLinux",
      cSettings: [.define("MARTLET_COMMIT", to: "\"\(commit)\"")]),

    tests("Primitives", ["Primitives"]),
    tests("Reactor", ["Reactor", "Primitives"]),
    tests("TLS", ["TLS", "COpenSSL", "Primitives"]),
    tests("HTTP", ["HTTP", "Primitives"]),
    tests("HTTP1", ["HTTP1", "HTTP", "Primitives"]),
    tests("HTTP2", ["HTTP2", "HTTP", "HTTP1", "Primitives"], exclude: ["Peers"]),
    tests("ProxyProtocol", ["ProxyProtocol", "Primitives"]),
    tests("Balancing", ["Balancing", "Primitives"]),
    tests("Proxy", ["Proxy", "HTTP", "Balancing", "Primitives"]),
    tests("Metrics", ["Metrics", "Primitives"]),
    tests("Configuration", ["Configuration", "Primitives"]),
    tests(
      "Server",
      [
        "Server", "Proxy", "HTTP", "HTTP1", "HTTP2", "ProxyProtocol", "Balancing", "TLS",
        "Reactor", "Metrics", "Configuration", "Primitives",
        .product(name: "Logging", package: "swift-log"),
      ], optimised: true),
    tests(
      "Differential", ["Proxy", "HTTP", "HTTP1", "Primitives"], exclude: ["Peers"],
      optimised: true),
    tests(
      "EndToEnd", ["martlet", "steady", "HTTP2", "HTTP", "Primitives", "CLinux", "COpenSSL"]),
    tests("Tidy", []),
  ]
)

// The fuzz targets need every object instrumented. They are only for scripts/fuzz, and replace the
// tests there.
if Context.environment["MARTLET_FUZZ"] != nil {
  func fuzz(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .executableTarget(
      name: "Fuzz\(name)", dependencies: ["FuzzSupport", "Primitives"] + dependencies,
      path: "Fuzz/\(name)", swiftSettings: testing)
  }
  package.products = []
  package.targets.removeAll { $0.type == .test || $0.type == .executable }
  package.targets += [
    .target(
      name: "FuzzSupport", dependencies: ["Primitives"], path: "Fuzz/Support",
      swiftSettings: testing),
    fuzz("RequestHead", ["HTTP", "HTTP1"]),
    fuzz("ResponseHead", ["HTTP", "HTTP1"]),
    fuzz("ChunkedBody", ["HTTP", "HTTP1"]),
    fuzz("FieldBlock", ["HTTP", "HTTP2"]),
    fuzz("HTTP2Frames", ["HTTP", "HTTP1", "HTTP2"]),
    fuzz("HTTP2Connection", ["HTTP", "HTTP2"]),
    fuzz("ConfigurationFile", ["Configuration"]),
    fuzz("ClientHello", ["TLS"]),
    fuzz("HelloScan", ["TLS"]),
    fuzz("ProxyHeader", ["ProxyProtocol"]),
    .target(
      name: "FuzzWorld",
      dependencies: [
        "FuzzSupport", "Server", "Proxy", "Balancing", "Reactor", "Metrics", "Primitives",
        .product(name: "Logging", package: "swift-log"),
      ],
      path: "Fuzz/World", swiftSettings: testing),
    fuzz("Connection", ["FuzzWorld"]),
    fuzz("HTTP2Worker", ["FuzzWorld", "Server", "HTTP2"]),
  ]
}
