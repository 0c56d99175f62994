import Integrations
import Testing

@Suite struct BrazilianPhoneTests {
    @Test(
        arguments: [
            // Mobile: both forms, the given one first.
            ("5511987654321", ["5511987654321", "551187654321"]),
            ("551187654321", ["551187654321", "5511987654321"]),
            ("5531999990000", ["5531999990000", "553199990000"]),
            ("557167654321", ["557167654321", "5571967654321"]),
            ("+55 (11) 98765-4321", ["5511987654321", "551187654321"]),
            // The area code may itself be 55.
            ("5555987654321", ["5555987654321", "555587654321"]),
            // Landlines have eight digits and no other form.
            ("551133334444", ["551133334444"]),
            ("551122223333", ["551122223333"]),
            ("556155554444", ["556155554444"]),
            // Mobile numbers that never had eight digits: without the 9 they would be a landline.
            ("5511943214321", ["5511943214321"]),
            ("5511912345678", ["5511912345678"]),
            // Thirteen digits without the 9, area codes with a zero, other lengths.
            ("5511887654321", ["5511887654321"]),
            ("5510987654321", ["5510987654321"]),
            ("55119876543", ["55119876543"]),
            ("55119876543210", ["55119876543210"]),
            // Other countries.
            ("14155552671", ["14155552671"]),
            ("351912345678", ["351912345678"]),
            ("", [""]),
        ]
    )
    func variantsOfANumber(number: String, variants: [String]) { #expect(BrazilianPhone.variants(of: number) == variants) }

    @Test func bothFormsOfAMobileNumberNameTheSameSet() {
        for area in 11...99 where area % 10 != 0 {
            for first in 6...9 {
                let long = "55\(area)9\(first)1234567"
                let short = "55\(area)\(first)1234567"
                #expect(Set(BrazilianPhone.variants(of: long)) == [long, short])
                #expect(Set(BrazilianPhone.variants(of: short)) == [long, short])
            }
        }
    }
}
