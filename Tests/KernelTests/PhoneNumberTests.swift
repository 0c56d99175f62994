import Kernel
import Testing

@Suite struct PhoneNumberTests {
    @Test(arguments: [
        // With and without the country, its plus, the ninth digit, the trunk's zero, and whatever people write in between.
        ("+55 (11) 98888-7777", "5511988887777"), ("11 98888-7777", "5511988887777"), ("5511988887777", "5511988887777"),
        ("011988887777", "5511988887777"),
        ("+55 11 8888-7777", "5511988887777"), ("1188887777", "5511988887777"), ("551188887777", "5511988887777"),
        ("0055 11 98888 7777", "5511988887777"),
        // A landline has one form.
        ("+55 11 3333-4444", "551133334444"), ("1133334444", "551133334444"), ("01133334444", "551133334444"),
        // Elsewhere as it is, when the country is named.
        ("+1 415 555 0100", "14155550100"), ("+351 912 345 678", "351912345678"), ("00351912345678", "351912345678"),
        ("+1 298 765 4321", "12987654321"),
        // No area code has a zero; too short for anything.
        ("+55 10 98888-7777", "5510988887777"), ("12345", "12345"), ("+5511888888888", "5511888888888"),
    ])
    func aNumberHasOneForm(_ written: String, _ canonical: String) {
        #expect(PhoneNumber.canonical(written) == canonical)
    }

    @Test func whatHasNoDigitIsNoNumber() { #expect(PhoneNumber.canonical("+ ()") == nil) }

    @Test func everyFormLeadsBack() throws {
        let forms = PhoneNumber.forms(of: "5511988887777")
        #expect(forms == ["5511988887777", "551188887777", "11988887777", "1188887777"])
        for form in forms { #expect(PhoneNumber.canonical(form) == "5511988887777") }
        #expect(PhoneNumber.forms(of: "551133334444") == ["551133334444", "1133334444"])
        #expect(PhoneNumber.forms(of: "14155550100") == ["14155550100"])
    }
}
