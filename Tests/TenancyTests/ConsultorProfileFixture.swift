import Consultores

enum ConsultorProfileFixture {
    static var online: ConsultorProfile {
        var profile = ConsultorProfile(nome: "Maria", idiomas: ["pt"])
        profile.statusOnline = true
        return profile
    }
}
