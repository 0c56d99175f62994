package import Kernel
package import Storage
import Wire

// The notices to all agents.

extension TenantCell {
    /// Posted once under one key.
    package func postNotice(_ text: String, clientMessageID: String?, by principal: Principal) -> Pending<Notice> {
        if let earlier = clientMessageID.flatMap({ board.earlier($0, by: principal.user) }) { return settle(.success((earlier, Change()))) }
        let moment = environment.moment()
        let notice = Notice(id: moment.id(), text: text, by: principal, clientMessageID: clientMessageID, at: moment.now)
        board.put(notice)
        var writer = JSONWriter(capacity: text.utf8.count + 256)
        writer.object {
            $0.field("type", "notice.created")
            $0.field("notice", raw: notice.json)
        }
        var change = Change()
        change.rows = [notice.image(of: tenant)]
        change.events = [Event(channel: "notices", payload: writer.bytes)]
        if let clientMessageID {
            change.marks = [Mark(.notice(clientMessageID, by: principal), at: moment.now, result: notice.id.description)]
        }
        return settle(.success((notice, change)))
    }
}
