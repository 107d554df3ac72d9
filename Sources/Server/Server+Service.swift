// How the process stands to the system that runs it: as whom it runs, and what it tells systemd.

import Configuration
import Logging
import Reactor

extension Server {
  // MARK: Privileges

  /// Gives up what isn't needed, before anything is opened and before there is another thread.
  func giveUpPrivileges() throws(ServerFailure) {
    if let user = configuration.process.user {
      try become(user)
    } else if Privileges.isRoot {
      logger.warning("running as root; set process.user to run as another user")
    }
    do throws(SystemError) {
      // Behind the change of user, which sets it anew.
      try Privileges.allowCoreDumps(configuration.process.coreDumps)
    } catch {
      throw ServerFailure("can't settle core dumps: \(error)")
    }
  }

  private func become(_ user: String) throws(ServerFailure) {
    let group = configuration.process.group
    guard let identity = Identity(user: user, group: group) else {
      throw ServerFailure(
        "there is no user \(user)" + (group.map { ", or no group \($0)" } ?? ""))
    }
    if identity.isCurrent { return }
    guard Privileges.isRoot else {
      throw ServerFailure("only root can become user \(user), which process.user asks for")
    }
    do throws(SystemError) {
      try Privileges.drop(to: identity, keepsRaw: configuration.usesClientAddresses)
    } catch {
      throw ServerFailure("can't become user \(user): \(error)")
    }
    // Root may have read what this user can't.
    guard let same = try? options.reload().get() else {
      throw ServerFailure("user \(user) can't read the configuration, so no reload would work")
    }
    configuration = same
  }

  // MARK: systemd

  /// Tells whoever supervises this process, if anybody asked for it.
  func tell(_ state: ServiceNotifier.State) {
    do throws(SystemError) {
      try ServiceNotifier()?.notify(state)
    } catch {
      logger.warning("can't notify systemd (NOTIFY_SOCKET)", metadata: ["error": "\(error)"])
    }
  }
}
