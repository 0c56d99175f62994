/// How a business presents itself, which decides what its services need (contracts/agendazap.md "Templates de negócio").
package enum TemplateType: String, Sendable, Hashable, CaseIterable {
    /// One professional, one kind of service: appointments with a person who has credentials. The price may stay unsaid.
    case consultation
    /// A menu of services with their prices, by category.
    case serviceTable = "service_table"
}
