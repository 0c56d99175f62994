import Kernel
import Tenancy
import Wire

extension TemplateType {
    /// What a service needs by the business's template (contracts/agendazap.md ServiceService "Validação baseada no template do usuário"; protocol/README.md).
    ///
    /// Only what a request says is looked at: services from before the template was chosen stay as they are, and are changed in other fields without it.
    func check(_ fields: inout RequestFields, isNew: Bool) {
        switch self {
        case .consultation:
            // One person at a time, by name and credentials; the fee may be a matter between them. Promotions and menus are for shops.
            if let seats = fields.json("capacity")?.int, seats > 1 {
                fields.refuse("capacity", "deve ser 1 no modelo consultation: uma consulta é de um cliente por vez", type: "template")
            }
            if fields.json("promotions") != nil {
                fields.refuse("promotions", "não existe no modelo consultation", type: "template")
            }
            if fields.json("category_id") != nil {
                fields.refuse("category_id", "não existe no modelo consultation: os serviços são de um só tipo", type: "template")
            }
        case .serviceTable:
            // A table of services says what each costs; credentials are a professional's.
            if fields.json("price") == nil, isNew || fields.has("price") {
                fields.refuse("price", "campo obrigatório no modelo service_table", type: "missing")
            }
            if fields.json("credentials") != nil {
                fields.refuse("credentials", "não existe no modelo service_table", type: "template")
            }
        }
    }
}
