import Kernel
import Testing

@Suite struct StaffTests {
    private static func user(_ number: UInt64) -> UserID { UserID(UniqueID(high: 1, low: number)) }

    @Test func somebodyIsFoundByNameOrEMailAndElseTheOwnersAre() {
        var staff = Staff()
        staff.add(Self.user(1), name: "Ana Dona", email: "ana@example.com", isOwner: true)
        staff.add(Self.user(2), name: "João  Conceição", email: "joao@example.com", isOwner: false)
        staff.add(Self.user(3), name: "Maria", email: "m1@example.com", isOwner: false)
        staff.add(Self.user(4), name: "maria", email: "maria", isOwner: false)
        #expect(staff.responsible(for: " JOAO conceicao ") == [Self.user(2)])
        #expect(staff.responsible(for: "joao@example.com") == [Self.user(2)])
        #expect(staff.responsible(for: "Maria") == [Self.user(3), Self.user(4)], "each once")
        for nobody in [nil, "", "Pedro"] { #expect(staff.responsible(for: nobody) == [Self.user(1)]) }
        #expect(Staff().responsible(for: "Maria") == [])
    }
}
