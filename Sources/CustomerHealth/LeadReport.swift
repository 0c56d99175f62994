package import Kernel
import Storage

/// What a CRM says of one of its leads, who is a customer, becomes one, or is none yet. Who that is, and whether it is news, is decided when it is taken.
package struct LeadReport: Sendable {
    package let lead: Int64
    /// Whose it is, if it says so; else who it was said to be before, else the customer of the lead's own number.
    package let customer: Int64?
    /// When this was so.
    package let at: Timestamp?
    package let isDeleted: Bool
    /// Where no customers are: who is not known yet does not become one.
    package let isElsewhere: Bool
    package let changes: [CustomerChange]

    package init(lead: Int64, customer: Int64?, at: Timestamp?, isDeleted: Bool, isElsewhere: Bool, changes: [CustomerChange]) {
        self.lead = lead
        self.customer = customer
        self.at = at
        self.isDeleted = isDeleted
        self.isElsewhere = isElsewhere
        self.changes = changes
    }
}

/// Whose a lead is, as it was said last.
struct LeadLink: Sendable {
    let lead: Int64
    let customer: Int64
    /// The customer is here because of the lead.
    var isMade = false
    /// When it was said to be theirs; `nil` where it was not.
    var saidAt: Timestamp?
    var version: Int64 = 1
}

extension LeadLink {
    init(_ row: Row) {
        var row = row
        let _: TenantID = row.id()
        self.init(
            lead: row.integer(),
            customer: row.integer(),
            isMade: row.optionalBoolean() ?? false,
            saidAt: row.optionalTimestamp(),
            version: row.integer()
        )
    }

    func image(of tenant: TenantID) -> RowImage {
        RowImage(
            CustomerTables.leads,
            version: version,
            values: [.id(tenant), .integer(lead), .integer(customer), .boolean(isMade), .optional(saidAt)]
        )
    }
}
