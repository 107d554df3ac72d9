// The page for people, which is built into the binary: one file without anything from elsewhere.

enum Dashboard {
  static var page: [UInt8] { PackageResources.dashboard_html }
}
