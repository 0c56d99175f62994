import Hummingbird
import Identity
import Kernel
import Tenancy
import Wire

extension API {
    func addUsers(to router: Router<APIContext>) {
        router.get("/api/v1/users") { request, context -> Response in
            let principal = try await principal(request, context)
            let page = try request.page()
            var users = try await directory.users(of: principal.tenant)
            if let text = request.query("q").map(SearchText.folded) {
                users = users.filter { SearchText.folded($0.name).contains(text) || $0.email.contains(text) }
            }
            if let text = request.query("role") {
                guard let role = Role.ofUsers.first(where: { $0.rawValue == text }) else {
                    throw Refusal.invalid([.init(["query", "role"], "deve ser owner, admin, agent ou viewer", type: "enum")])
                }
                users = users.filter { $0.role == role }
            }
            if let text = request.query("is_active") {
                guard let isActive = ["true": true, "1": true, "false": false, "0": false][text.lowercased()] else {
                    throw Refusal.invalid([.init(["query", "is_active"], "deve ser true ou false", type: "bool_parsing")])
                }
                users = users.filter { $0.isActive == isActive }
            }
            let start = min((page.number - 1) * page.size, users.count)
            return .json {
                $0.list("items") { for user in users[start..<min(start + page.size, users.count)] { user.write(to: &$0) } }
                $0.page(page, total: users.count)
            }
        }
        router.post("/api/v1/users") { request, context -> Response in
            let principal = try await principal(request, context)
            try principal.requireAdministrator()
            var fields = try await request.fields()
            let email = fields.text("email", max: 254)
            let name = fields.text("name", max: 120)
            let role = Self.role(fields.text("role", max: 16), &fields)
            let password = fields.text("password", max: 256)
            try fields.check()
            let made = try await directory.createUser(by: principal, email: email, name: name, role: role, password: password)
            await operations.accountChanged(principal.tenant)
            return .json(made.json, status: .created)
        }
        // What a user keeps of lists: `{views: [{name, query}], selected}`. A whole, put in place of what was there.
        router.get("/api/v1/users/me/views") { request, context -> Response in
            let principal = try await principal(request, context)
            guard let user = try await directory.user(principal.tenant, principal.user) else { throw TokenIssuer.invalid }
            return .json(SavedViews.json(user.views))
        }
        router.put("/api/v1/users/me/views") { request, context -> Response in
            let principal = try await principal(request, context)
            let views = try await SavedViews.read(try await request.json()) { query in
                _ = try await filter(query, principal)
                _ = try query.page()
            }
            try await directory.keepViews(views, of: principal)
            return .json(Array(views.utf8))
        }
        router.get("/api/v1/users/:id") { request, context -> Response in
            let principal = try await principal(request, context)
            guard let user = try await directory.user(principal.tenant, try context.identifier(.user)) else { throw Refusal.notFound(.user) }
            return .json(user.json)
        }
        router.put("/api/v1/users/:id") { request, context -> Response in
            let principal = try await principal(request, context)
            let id: UserID = try context.identifier(.user)
            try principal.requireAdministrator()
            var fields = try await request.fields()
            var changes = UserChanges()
            changes.name = fields.optionalText("name", min: 1, max: 120)
            if let role = fields.optionalText("role", max: 16) { changes.role = Self.role(role, &fields) }
            changes.email = fields.optionalText("email", min: 1, max: 254)
            changes.password = fields.optionalText("password", min: 1, max: 256)
            changes.isActive = fields.optionalBool("is_active")
            let password = fields.optionalText("current_password", max: 256)
            try fields.check()
            let former = try await directory.user(principal.tenant, id)?.email
            let user = try await directory.updateUser(by: principal, id, changes, password: password, from: origin(of: request, context))
            if let former, former != user.email { await accounts(context).sendLater(.emailChanged(from: former, user)) }
            if !user.isActive { try await operations.accountClosed(id, by: principal) }
            if changes.isActive != nil { await operations.accountChanged(principal.tenant) }
            return .json(user.json)
        }
        router.delete("/api/v1/users/:id") { request, context -> Response in
            let principal = try await principal(request, context)
            let id: UserID = try context.identifier(.user)
            try principal.requireAdministrator()
            try await directory.deleteUser(by: principal, id)
            try await operations.accountClosed(id, by: principal)
            await operations.accountChanged(principal.tenant)
            return Response(status: .noContent)
        }
    }

    private static func role(_ text: String, _ fields: inout RequestFields) -> Role {
        if let role = Role.ofUsers.first(where: { $0.rawValue == text }) { return role }
        if !text.isEmpty { fields.refuse("role", "deve ser owner, admin, agent ou viewer", type: "enum") }
        return .viewer
    }
}
