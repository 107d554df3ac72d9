// The sessions of one worker: by key, and in the order of their last use, for each listener and for
// each client of a listener. Finding a session, and noting that it is used, allocate nothing.

import Primitives

/// The neighbours in a list, both `.none` in a list of one.
struct SessionLinks {
  var older = Handle.none
  var newer = Handle.none
}

/// The ends of a list.
struct SessionEnds {
  var oldest = Handle.none
  var newest = Handle.none
}

/// A client of a listener, and its sessions. Not in the table's own scope: the compiler crashes if
/// another file has a slab of a private type.
struct SessionClient {
  struct Key: Hashable {
    let listener: Int32
    let block: IPAddress
  }

  let key: Key
  var ends = SessionEnds()
}

struct SessionTable: ~Copyable {
  private var sessions = Slab<Session>()
  private var places: [SessionKey: Handle] = [:]
  /// By the worker's listener.
  private var listeners: [SessionEnds] = []
  private var clients = Slab<SessionClient>()
  private var clientPlaces: [SessionClient.Key: Handle] = [:]

  var count: Int { sessions.count }
  var isEmpty: Bool { sessions.isEmpty }
  var slotCount: Int { sessions.slotCount }

  func handle(at slot: Int) -> Handle? { sessions.handle(at: slot) }
  func contains(_ handle: Handle) -> Bool { sessions.contains(handle) }
  func find(_ key: SessionKey) -> Handle? { places[key] }

  subscript(handle: Handle) -> Session {
    @inline(__always) _read { yield sessions[handle] }
    @inline(__always) _modify { yield &sessions[handle] }
  }

  // MARK: Changes

  mutating func insert(_ session: consuming Session) -> Handle {
    let key = session.key
    let block = session.block
    let handle = sessions.insert(session)
    places[key] = handle
    if let block {
      let clientKey = SessionClient.Key(listener: key.listener, block: block)
      let entry = clientPlaces[clientKey] ?? clients.insert(SessionClient(key: clientKey))
      clientPlaces[clientKey] = entry
      sessions[handle].clientEntry = entry
    }
    while listeners.count <= Int(key.listener) { listeners.append(SessionEnds()) }
    link(handle)
    return handle
  }

  mutating func remove(_ handle: Handle) -> Session {
    unlink(handle)
    let entry = sessions[handle].clientEntry
    if entry != .none && clients[entry].ends.newest == .none {
      clientPlaces[clients[entry].key] = nil
      clients.drop(entry)
    }
    places[sessions[handle].key] = nil
    return sessions.remove(handle)
  }

  /// It is the one that was used last.
  mutating func touch(_ handle: Handle) {
    if listeners[sessions[handle].listener].newest == handle {
      let entry = sessions[handle].clientEntry
      if entry == .none || clients[entry].ends.newest == handle { return }
    }
    unlink(handle)
    link(handle)
  }

  // MARK: Order

  /// The session of a listener that was not used for the longest time.
  func oldest(ofListener listener: Int) -> Handle? {
    guard listener < listeners.count, listeners[listener].oldest != .none else { return nil }
    return listeners[listener].oldest
  }

  /// The same of a client.
  func oldest(ofListener listener: Int, client block: IPAddress?) -> Handle? {
    guard let block,
      let entry = clientPlaces[SessionClient.Key(listener: Int32(listener), block: block)]
    else { return nil }
    return clients[entry].ends.oldest
  }

  private mutating func link(_ handle: Handle) {
    let listener = sessions[handle].listener
    let newest = listeners[listener].newest
    sessions[handle].order = SessionLinks(older: newest)
    if newest == .none {
      listeners[listener].oldest = handle
    } else {
      sessions[newest].order.newer = handle
    }
    listeners[listener].newest = handle

    let entry = sessions[handle].clientEntry
    if entry == .none { return }
    let newestOfClient = clients[entry].ends.newest
    sessions[handle].orderOfClient = SessionLinks(older: newestOfClient)
    if newestOfClient == .none {
      clients[entry].ends.oldest = handle
    } else {
      sessions[newestOfClient].orderOfClient.newer = handle
    }
    clients[entry].ends.newest = handle
  }

  private mutating func unlink(_ handle: Handle) {
    let listener = sessions[handle].listener
    let links = sessions[handle].order
    if links.older == .none {
      listeners[listener].oldest = links.newer
    } else {
      sessions[links.older].order.newer = links.newer
    }
    if links.newer == .none {
      listeners[listener].newest = links.older
    } else {
      sessions[links.newer].order.older = links.older
    }

    let entry = sessions[handle].clientEntry
    if entry == .none { return }
    let linksOfClient = sessions[handle].orderOfClient
    if linksOfClient.older == .none {
      clients[entry].ends.oldest = linksOfClient.newer
    } else {
      sessions[linksOfClient.older].orderOfClient.newer = linksOfClient.newer
    }
    if linksOfClient.newer == .none {
      clients[entry].ends.newest = linksOfClient.older
    } else {
      sessions[linksOfClient.newer].orderOfClient.older = linksOfClient.older
    }
  }
}
