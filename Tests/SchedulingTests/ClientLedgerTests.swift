import Kernel
import Testing

@testable import Scheduling

@Suite struct ClientLedgerTests {
    private let staff = Author.user(UserID(UniqueID(high: 1, low: 1)), name: "Ana")

    @Test func oneNumberIsOneClientHoweverItIsWritten() throws {
        var diary = try Diary()
        for (hour, number) in ["+55 11 98888-7777", "11988887777", "+551188887777"].enumerated() {
            let start = try time("2026-03-03T\(12 + hour):00:00Z")
            _ = try diary.book.book(diary.request(start, whatsapp: number), diary.moment)
        }
        #expect(diary.book.clients.count == 1)
        let client = try #require(diary.book.clients.known.values.first)
        #expect(client.whatsapp == "+55 11 98888-7777" && client.tally.total == 3)
    }

    @Test func whoIsNotReadIsAskedForBeforeAnythingChanges() throws {
        var diary = try Diary()
        diary.book.clients.isWhole = false
        let start = try time("2026-03-03T12:00:00Z")
        let request = diary.request(start)
        #expect(refusal { try diary.book.book(request, diary.moment) } == "client_unread")
        #expect(diary.book.appointments.isEmpty && diary.book.effects.isEmpty && diary.book.clients.isUnchanged)
        diary.book.clients.learned(free: "5511900000001")
        _ = try diary.book.book(request, diary.moment)
        #expect(diary.book.clients.count == 1)
    }

    /// As the store may have them from before numbers had one form, too.
    @Test(arguments: ["5511988887777", "551188887777", "11988887777", "1188887777"])
    func whoeverTheStoreMayHaveIsAskedForAndNobodyElse(stored: String) throws {
        var diary = try Diary()
        diary.book.clients.isWhole = false
        _ = diary.book.clients.filter.begin()
        diary.book.clients.filter.read([stored])
        let start = try time("2026-03-03T12:00:00Z")
        #expect(refusal { try diary.book.book(diary.request(start, whatsapp: "+55 11 98888-7777"), diary.moment) } == "client_unread")
        #expect(!diary.book.clients.knows(key: "5511988887777") && diary.book.clients.knows(key: "5511977776666"))
        let booked = try diary.book.book(diary.request(start, whatsapp: "+55 11 97777-6666"), diary.moment)
        // Also once they are no more in memory.
        #expect(!diary.book.clients.filter.excludes(try #require(diary.book.clients[booked.client]?.key)))
    }

    @Test func aSecondClientWithTheNumberIsRefusedAndARemovedOneIsBack() throws {
        var diary = try Diary()
        let profile = ClientProfile(name: "Ana", whatsapp: "+5511988887777")
        let made = try diary.book.makeClient(profile, by: staff, diary.moment)
        #expect(
            refusal { try diary.book.makeClient(ClientProfile(name: "Bia", whatsapp: "11 8888-7777"), by: staff, diary.moment) } == "client_exists"
        )
        _ = try diary.book.removeClient(made.id, force: false, erases: false, by: staff, diary.moment)
        #expect(refusal { try diary.book.changeClient(made.id, by: staff, diary.moment) { _, _ throws(Refusal) in } } == "not_found")
        let back = try diary.book.book(diary.request(try time("2026-03-03T12:00:00Z"), whatsapp: "11988887777"), diary.moment)
        #expect(back.client == made.id && diary.book.clients[made.id]?.isListed == true)
    }

    @Test func whoHasAppointmentsToComeGoesOnlyByForceAndTheyAreCancelled() throws {
        var diary = try Diary()
        let made = try diary.book.book(diary.request(try time("2026-03-03T12:00:00Z")), diary.moment)
        #expect(
            refusal { try diary.book.removeClient(made.client, force: false, erases: true, by: staff, diary.moment) } == "client_has_appointments"
        )
        diary.book.blank([made], of: made.client, diary.moment)
        _ = try diary.book.removeClient(made.client, force: true, erases: true, by: staff, diary.moment)
        let appointment = try #require(diary.book.appointments[made.id])
        #expect(appointment.status == .cancelled && appointment.clientWhatsapp.isEmpty && appointment.clientName == Appointment.blankName)
        let client = try #require(diary.book.clients[made.client])
        #expect(client.profile == .erased && client.key == nil && client.tally.count(.cancelled) == 1)
        // Whoever comes with the number is somebody new.
        let again = try diary.book.book(diary.request(try time("2026-03-03T13:00:00Z")), diary.moment)
        #expect(again.client != made.client)
    }

    @Test func mergersAreOneDeepAndEveryNumberLeadsToWhoStayed() throws {
        var diary = try Diary()
        let ids = try ["1", "2", "3"].map {
            try diary.book.makeClient(ClientProfile(name: $0, whatsapp: "+551198888777\($0)"), by: staff, diary.moment).id
        }
        let moved = try diary.book.book(diary.request(try time("2026-03-03T12:00:00Z"), whatsapp: "+5511988887771"), diary.moment)
        _ = try diary.book.mergeClients(ids[0], into: ids[1], by: staff, diary.moment)
        _ = try diary.book.mergeClients(ids[1], into: ids[2], by: staff, diary.moment)
        #expect(diary.book.clients[ids[0]]?.mergedInto == ids[2] && diary.book.appointments[moved.id]?.client == ids[2])
        for number in 1...3 {
            let made = try diary.book.book(diary.request(try time("2026-03-03T\(12 + number):00:00Z"), whatsapp: "1198888777\(number)"), diary.moment)
            #expect(made.client == ids[2])
        }
        #expect(diary.book.clients[ids[2]]?.tally.total == 4)
        #expect(refusal { try diary.book.mergeClients(ids[2], into: ids[2], by: staff, diary.moment) } == "same_client")
        #expect(refusal { try diary.book.mergeClients(ids[0], into: ids[2], by: staff, diary.moment) } == "not_found")
    }

    @Test func aPersonWhoWritesIsTheClientWithTheNumberOrANewOne() throws {
        var diary = try Diary()
        let booked = try diary.book.book(diary.request(try time("2026-03-03T12:00:00Z"), whatsapp: "11988887777"), diary.moment)
        func contact(_ number: UInt64) -> ContactID { ContactID(UniqueID(high: 7, low: number)) }
        func news(_ number: UInt64, _ phone: String?, isNew: Bool = true, into: ContactID? = nil) -> CalendarBook.ContactNews {
            .init(contact: contact(number), name: "Zé", number: phone, isNew: isNew, mergedInto: into, source: phone == nil ? "webchat" : "whatsapp")
        }
        diary.book.contactCame(news(1, "551188887777"), diary.moment)
        #expect(diary.book.clients.count == 1 && diary.book.clients.of(contact(1))?.id == booked.client)
        diary.book.contactCame(news(2, nil), diary.moment)
        #expect(diary.book.clients.of(contact(2))?.profile.source == "webchat")
        // The same news again, as a change of the contact, makes nobody.
        diary.book.contactCame(news(2, nil, isNew: false), diary.moment)
        #expect(diary.book.clients.count == 2)
        // They turn out to be the first.
        diary.book.contactCame(news(2, nil, isNew: false, into: contact(1)), diary.moment)
        #expect(diary.book.clients.known.values.filter(\.isListed).map(\.id) == [booked.client])
        // Somebody who shows their number later is whoever has it.
        diary.book.contactCame(news(3, nil), diary.moment)
        diary.book.contactCame(news(3, "5511977776666", isNew: false), diary.moment)
        #expect(diary.book.clients.of(contact(3))?.key == "5511977776666")
    }

    @Test func whoIsNotAskedForIsForgottenAndWhoHasAnAppointmentIsNot() throws {
        var diary = try Diary()
        let booked = try diary.book.book(diary.request(try time("2026-03-03T12:00:00Z")), diary.moment)
        for number in 0..<(ClientLedger.kept + 10) {
            _ = try diary.book.makeClient(ClientProfile(name: "N", whatsapp: "+55119\(10_000_000 + number)"), by: staff, diary.moment)
        }
        diary.book.clients.isWhole = false
        _ = diary.book.clients.taken()
        diary.book.forgetClients(at: diary.clock.now)
        #expect(diary.book.clients.count == ClientLedger.kept + 11, "nobody who was just touched")
        diary.clock.advance(by: ClientLedger.lingers + .milliseconds(1))
        let other = try #require(diary.book.clients.known.values.map(\.id).filter { $0 != booked.client }.sorted().first)
        let renamed = try diary.book.changeClient(other, by: staff, diary.moment) { profile, _ throws(Refusal) in profile.name = "X" }
        diary.book.forgetClients(at: diary.clock.now)
        #expect(Set(diary.book.clients.known.keys) == [booked.client, other], "who has an appointment, and who was just asked for")
        #expect(diary.book.clients.knows(key: try #require(renamed.key)) && !diary.book.clients.knows(key: "5511910000009"))
    }

    @Test func whoIsBackCountsAsOneMore() throws {
        var diary = try Diary()
        let numbers = ["+5511900000001", "+5511900000002", "+5511900000003"]
        for number in numbers {
            let made = try diary.book.makeClient(ClientProfile(name: "N", whatsapp: number), by: staff, diary.moment)
            _ = try diary.book.removeClient(made.id, force: false, erases: false, by: staff, diary.moment)
        }
        diary.book.allowance = Allowance(left: [.client: 2]) { _ in Refusal(.forbidden, "plan_limit", "x") }
        _ = try diary.book.makeClient(ClientProfile(name: "N", whatsapp: numbers[0]), by: staff, diary.moment)
        _ = try diary.book.book(diary.request(try time("2026-03-03T17:00:00Z"), whatsapp: numbers[1]), diary.moment)
        #expect(refusal { try diary.book.makeClient(ClientProfile(name: "N", whatsapp: numbers[2]), by: staff, diary.moment) } == "plan_limit")
    }

    /// Confirmations and reminders go to where they are reached now.
    @Test func aNumberThatIsCorrectedIsThatOfWhatIsBooked() throws {
        var diary = try Diary()
        var request = diary.request(try time("2026-03-03T17:00:00Z"))
        request.clientEmail = "ana@example.com"
        let made = try diary.book.book(request, diary.moment)
        let other = try diary.book.book(diary.request(try time("2026-03-04T17:00:00Z")), diary.moment)
        var details = CalendarBook.Details()
        details.clientWhatsapp = "+5511900000005"
        _ = try diary.book.update(other.id, details, diary.moment)
        _ = try diary.book.changeClient(made.client, by: staff, diary.moment) { profile, _ throws(Refusal) in
            (profile.whatsapp, profile.email) = ("+5511900000002", "ana@example.net")
        }
        let now = try #require(diary.book.appointments[made.id])
        #expect(now.clientWhatsapp == "+5511900000002" && now.clientEmail == "ana@example.net" && now.revision == made.revision + 1)
        #expect(diary.book.appointments[other.id]?.clientWhatsapp == "+5511900000005", "another one was said of this")
    }

    @Test func whoWasRemovedIsFoundAlsoWhereSomebodyElseHadTheirNumber() throws {
        var diary = try Diary()
        let ana = try diary.book.makeClient(ClientProfile(name: "Ana", whatsapp: "+5511900000001"), by: staff, diary.moment)
        _ = try diary.book.removeClient(ana.id, force: false, erases: false, by: staff, diary.moment)
        let bia = try diary.book.makeClient(ClientProfile(name: "Bia", whatsapp: "+5511900000002"), by: staff, diary.moment)
        diary.book.clients.isWhole = false
        diary.book.clients.learned(free: "5511900000003")
        for number in ["+5511900000001", "+5511900000003"] {
            _ = try diary.book.changeClient(bia.id, by: staff, diary.moment) { profile, _ throws(Refusal) in profile.whatsapp = number }
        }
        // She is read, and is in memory already.
        diary.book.clients.adopt(try #require(diary.book.clients[ana.id]), at: diary.clock.now)
        diary.book.clients.learned(free: "5511900000001")
        #expect(try diary.book.book(diary.request(try time("2026-03-03T17:00:00Z")), diary.moment).client == ana.id)
    }
}
