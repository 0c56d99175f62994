import Foundation
import HTTPTypes
import Hummingbird
import Identity
import Integrations
import Kernel
import NIOCore
import Scheduling
import Storage
import Tenancy
import Wire

/// contracts/agendazap.md "Serviços", at its own paths.
extension API {
    func addServices(to router: Router<APIContext>) {
        let base = "/api/services"
        router.get("\(base)") { request, context -> Response in
            let principal = try await principal(request, context)
            let page = try request.page(defaultSize: 20)
            let filter = try ServiceFilter(request)
            let found = try await operations.readCalendar(of: principal.tenant) { book, _ throws(Refusal) in (filter.apply(book), book.categories) }
            let start = min((page.number - 1) * page.size, found.0.count)
            let owner = operations.owner(principal.tenant)
            return .json {
                $0.list("services") {
                    for service in found.0[start..<min(start + page.size, found.0.count)] {
                        service.write(to: &$0, categoryName: service.category.flatMap { found.1[$0]?.name }, of: owner)
                    }
                }
                $0.page(page, total: found.0.count)
            }
        }
        router.post("\(base)") { request, context -> Response in
            let principal = try await principal(request, context)
            let fields = try await request.fields()
            let template = directory.business(principal.tenant)?.template
            let made = try await operations.arrange(by: principal) { book, moment throws(Refusal) in
                var fields = fields
                template?.check(&fields, isNew: true)
                var service = Service(id: moment.id(), name: fields.text("name", max: 255), durationMinutes: 0, at: moment.now)
                service.durationMinutes = Int(fields.integer("duration", in: 5...1440))
                try service.read(&fields, book)
                return service
            } put: {
                $0.put($1)
            }
            return .json(try await shown(made, principal.tenant), status: .created)
        }
        router.get("\(base)/stats") { request, context -> Response in
            let principal = try await principal(request, context)
            return try await serviceStats(principal.tenant)
        }
        addCategories(to: router)
        router.get("\(base)/:id") { request, context -> Response in
            let principal = try await principal(request, context)
            let id: ServiceID = try context.identifier(.service)
            return .json(try await shown(try await service(id, principal.tenant), principal.tenant))
        }
        router.put("\(base)/:id") { request, context -> Response in
            let principal = try await principal(request, context)
            let id: ServiceID = try context.identifier(.service)
            let fields = try await request.fields()
            let revision = try request.seenRevision
            let template = directory.business(principal.tenant)?.template
            let before = try await self.service(id, principal.tenant).images
            let changed = try await operations.arrange(by: principal) { book, moment throws(Refusal) in
                guard var service = book.services[id] else { throw .notFound(.service) }
                var fields = fields
                if let seen = fields.revision() ?? revision, seen != service.version {
                    let category = service.category.flatMap { book.categories[$0]?.name }
                    throw .stale("O serviço", revision: service.version, current: service.json(categoryName: category, of: book.owner))
                }
                template?.check(&fields, isNew: false)
                if let name = fields.optionalText("name", min: 1, max: 255) { service.name = name }
                if let duration = fields.optionalInteger("duration", in: 5...1440) { service.durationMinutes = Int(duration) }
                service.updatedAt = moment.now
                try service.read(&fields, book)
                return service
            } put: {
                $0.put($1)
            }
            for name in before where !changed.images.contains(name) {
                if let image = MediaFiles.ID(name) { await settings.whatsapp?.media.remove(image, of: principal.tenant) }
            }
            return .json(try await shown(changed, principal.tenant))
        }
        router.delete("\(base)/:id") { request, context -> Response in
            let principal = try await principal(request, context)
            let id: ServiceID = try context.identifier(.service)
            _ = try await operations.arrange(by: principal) { book, moment throws(Refusal) in
                guard var service = book.services[id] else { throw .notFound(.service) }
                guard !book.appointments.values.contains(where: { $0.service == id && $0.status.isBlocking && $0.end > moment.now }) else {
                    throw Refusal(
                        .conflict,
                        "service_in_use",
                        "O serviço tem agendamentos por vir; cancele-os ou desative o serviço (is_active: false)."
                    )
                }
                service.removedAt = moment.now
                service.updatedAt = moment.now
                return service
            } put: {
                $0.put($1)
            }
            return Response(status: .noContent)
        }
        addServiceImages(to: router)
    }

    private func service(_ id: ServiceID, _ tenant: TenantID) async throws -> Service {
        try await operations.readCalendar(of: tenant) { book, _ throws(Refusal) in
            guard let service = book.services[id] else { throw .notFound(.service) }
            return service
        }
    }

    private func shown(_ service: Service, _ tenant: TenantID) async throws -> [UInt8] {
        let name = try await operations.readCalendar(of: tenant) { book, _ throws(Refusal) in service.category.flatMap { book.categories[$0]?.name } }
        return service.json(categoryName: name, of: operations.owner(tenant))
    }

    // MARK: Categories

    private func addCategories(to router: Router<APIContext>) {
        router.get("/api/services/categories") { request, context -> Response in
            let principal = try await principal(request, context)
            let all = try await operations.readCalendar(of: principal.tenant) { book, _ throws(Refusal) in
                book.categories.values.sorted { ($0.name, $0.id) < ($1.name, $1.id) }
            }
            return .json { $0.list("categories") { for category in all { category.write(to: &$0) } } }
        }
        router.post("/api/services/categories") { request, context -> Response in
            let principal = try await principal(request, context)
            var fields = try await request.fields()
            let name = fields.text("name", max: 120)
            try fields.check()
            let made = try await operations.arrange(by: principal) { book, moment throws(Refusal) in
                try Self.requireFree(name, book, but: nil)
                return ServiceCategory(id: moment.id(), name: name, at: moment.now)
            } put: {
                $0.put($1)
            }
            return Self.json(made, status: .created)
        }
        router.put("/api/services/categories/:id") { request, context -> Response in
            let principal = try await principal(request, context)
            let id: CategoryID = try context.identifier(.category)
            var fields = try await request.fields()
            let name = fields.text("name", max: 120)
            let revision = try fields.revision() ?? request.seenRevision
            try fields.check()
            let changed = try await operations.arrange(by: principal) { book, _ throws(Refusal) in
                guard var category = book.categories[id] else { throw .notFound(.category) }
                if let revision, revision != category.version {
                    throw .stale("A categoria", revision: category.version, current: category.json)
                }
                try Self.requireFree(name, book, but: id)
                category.name = name
                return category
            } put: {
                $0.put($1)
            }
            return Self.json(changed, status: .ok)
        }
        router.delete("/api/services/categories/:id") { request, context -> Response in
            let principal = try await principal(request, context)
            try await operations.removeCategory(try context.identifier(.category), by: principal)
            return Response(status: .noContent)
        }
    }

    private static func requireFree(_ name: String, _ book: CalendarBook, but id: CategoryID?) throws(Refusal) {
        guard !book.categories.values.contains(where: { $0.name.lowercased() == name.lowercased() && $0.id != id }) else {
            throw Refusal(.conflict, "category_taken", "Já há uma categoria com este nome.")
        }
    }

    private static func json(_ category: ServiceCategory, status: HTTPResponse.Status) -> Response {
        .json(category.json, status: status)
    }

    // MARK: Figures

    private func serviceStats(_ tenant: TenantID) async throws -> Response {
        let (services, categories) = try await operations.readCalendar(of: tenant) { book, _ throws(Refusal) in
            (book.services.values.sorted { ($0.name, $0.id) < ($1.name, $1.id) }, book.categories)
        }
        let booked = try await operations.perService(tenant)
        let prices = services.compactMap(\.price)
        let minutes = services.reduce(0) { $0 + $1.durationMinutes }
        let averageMinutes: Double = services.isEmpty ? 0 : Double(minutes) / Double(services.count)
        let averagePrice: Decimal? = prices.isEmpty ? nil : prices.reduce(Decimal(0)) { $0 + $1 } / Decimal(prices.count)
        let active = services.filter(\.isActive).count
        return .json { object in
            object.field("total_services", services.count)
            object.field("active_services", active)
            object.field("inactive_services", services.count - active)
            object.price("average_price", averagePrice)
            object.field("average_duration", averageMinutes)
            object.list("most_booked") { list in
                for one in booked.prefix(10) {
                    list.object {
                        $0.field("service_id", one.id.description)
                        $0.field("name", one.name)
                        $0.field("appointments", one.count)
                        $0.price("revenue", one.revenue)
                    }
                }
            }
            object.list("by_category") { list in
                let groups = Dictionary(grouping: services) { $0.category.flatMap { categories[$0]?.name } ?? "" }
                for (name, group) in groups.sorted(by: { $0.key < $1.key }) {
                    list.object {
                        $0.field("category", name.isEmpty ? nil : name)
                        $0.field("services", group.count)
                    }
                }
            }
        }
    }

    // MARK: Images

    private func addServiceImages(to router: Router<APIContext>) {
        // Open to all, as public pages show them. An id is never used twice, so a browser may keep it.
        router.get("/api/services/:id/images/:image_id") { request, context -> Response in
            let id: ServiceID = try context.identifier(.service)
            guard let name = context.parameters.get("image_id"), let image = MediaFiles.ID(name) else { throw Refusal.notFound(.image) }
            guard let tenant = try await owner(of: image, of: id), let media = settings.whatsapp?.media,
                let reader = await media.open(image, of: tenant)
            else { throw Refusal.notFound(.image) }
            let head = try await reader.read(Int(min(512, reader.size)), at: 0)
            let type = MediaRules.detected(head) ?? "application/octet-stream"
            return try serve(Operations.MediaFile(id: image, mimeType: type, filename: "imagem", sha256: nil), reader, request)
        }
        router.post("/api/services/:id/images") { request, context -> Response in
            let principal = try await principal(request, context)
            try principal.requireAdministrator()
            let id: ServiceID = try context.identifier(.service)
            guard try await service(id, principal.tenant).images.count < Service.maxImages else { throw Self.tooManyImages }
            guard let media = settings.whatsapp?.media else { throw Refusal.stopping }
            let image: MediaFiles.ID = environment.moment().id()
            let draft = try await media.begin(image, of: principal.tenant)
            do {
                try await ImageUploadReader.read(request, into: draft)
                try await draft.keep()
            } catch {
                await draft.discard()
                throw error
            }
            do {
                let changed = try await operations.arrange(by: principal) { book, moment throws(Refusal) in
                    guard var service = book.services[id] else { throw .notFound(.service) }
                    guard service.images.count < Service.maxImages else { throw Self.tooManyImages }
                    service.images.append(image.description)
                    service.updatedAt = moment.now
                    return service
                } put: {
                    $0.put($1)
                }
                return .json(try await shown(changed, principal.tenant), status: .created)
            } catch let refusal as Refusal {
                // Refused, so no row names the file. Where the journal failed a row may yet come to: those stay.
                if refusal.kind != .unavailable { await media.remove(image, of: principal.tenant) }
                throw refusal
            }
        }
        router.delete("/api/services/:id/images/:image_id") { request, context -> Response in
            let principal = try await principal(request, context)
            let id: ServiceID = try context.identifier(.service)
            let name = context.parameters.get("image_id") ?? ""
            let changed = try await operations.arrange(by: principal) { book, moment throws(Refusal) in
                guard var service = book.services[id], let index = service.images.firstIndex(of: name) else { throw .notFound(.image) }
                service.images.remove(at: index)
                service.updatedAt = moment.now
                return service
            } put: {
                $0.put($1)
            }
            if let image = MediaFiles.ID(name) { await settings.whatsapp?.media.remove(image, of: principal.tenant) }
            return .json(try await shown(changed, principal.tenant))
        }
    }

    private static let tooManyImages = Refusal(.conflict, "too_many_images", "Um serviço pode ter no máximo \(Service.maxImages) imagens.")

    /// Whose service has this image.
    private func owner(of image: MediaFiles.ID, of id: ServiceID) async throws -> TenantID? {
        let rows = try await store.rows(Query("SELECT tenant_id FROM services WHERE id = ? AND removed_at IS NULL", [.id(id)], kinds: [.uuid]))
        for var row in rows {
            let tenant: TenantID = row.id()
            let images = try await operations.readCalendar(of: tenant) { book, _ throws(Refusal) in book.services[id]?.images ?? [] }
            if images.contains(image.description) { return tenant }
        }
        return nil
    }
}

struct ServiceFilter: Sendable {
    let text: String?
    let category: CategoryID?
    let isActive: Bool?
    let priceFrom: Decimal?
    let priceTo: Decimal?
    let durationFrom: Int?
    let durationTo: Int?
    let staff: StaffID?

    init(_ request: Request) throws(Refusal) {
        text = (request.query("query") ?? request.query("q"))?.lowercased()
        category = try request.id("category_id")
        staff = try request.id("staff_id")
        isActive = try request.flag("is_active")
        priceFrom = try Self.amount("min_price", request)
        priceTo = try Self.amount("max_price", request)
        durationFrom = try request.query("min_duration").map { _ in 0 } == nil ? nil : request.integer("min_duration", in: 0...100_000, default: 0)
        durationTo = try request.query("max_duration").map { _ in 0 } == nil ? nil : request.integer("max_duration", in: 0...100_000, default: 0)
    }

    private static func amount(_ name: String, _ request: Request) throws(Refusal) -> Decimal? {
        guard let text = request.query(name) else { return nil }
        guard text.utf8.count <= 20, text.allSatisfy({ $0.isASCII && ($0.isNumber || $0 == ".") }), let amount = Decimal(string: text) else {
            throw .invalid([.init(["query", name], "deve ser um número como 49.90", type: "float_parsing")])
        }
        return amount
    }

    func apply(_ book: CalendarBook) -> [Service] {
        book.services.values.filter { service in
            (text.map { service.name.lowercased().contains($0) || (service.description?.lowercased().contains($0) ?? false) } ?? true)
                && (category.map { service.category == $0 } ?? true) && (isActive.map { service.isActive == $0 } ?? true)
                && (staff.map { service.staff.isEmpty || service.staff.contains($0) } ?? true)
                && (priceFrom.map { (service.price ?? 0) >= $0 } ?? true) && (priceTo.map { (service.price ?? 0) <= $0 } ?? true)
                && (durationFrom.map { service.durationMinutes >= $0 } ?? true) && (durationTo.map { service.durationMinutes <= $0 } ?? true)
        }.sorted { ($0.name.lowercased(), $0.id) < ($1.name.lowercased(), $1.id) }
    }
}

extension Service {
    /// Every field but the two that there must be.
    mutating func read(_ fields: inout RequestFields, _ book: CalendarBook) throws(Refusal) {
        if fields.has("description") { description = fields.optionalText("description", max: 5000) }
        if fields.has("images") { images = readImages(&fields) }
        if fields.has("price") { price = fields.price("price") }
        if fields.has("is_active") { isActive = fields.optionalBool("is_active") ?? true }
        if fields.has("credentials") { credentials = fields.object("credentials") }
        if fields.has("promotions") { promotions = fields.object("promotions") }
        if fields.has("custom_fields") { customFields = fields.object("custom_fields") }
        if fields.has("capacity") { seats = Int(fields.optionalInteger("capacity", in: 1...500) ?? 1) }
        func optional(_ name: String, _ range: ClosedRange<Int64>, _ value: inout Int?) {
            if fields.has(name) { value = fields.optionalInteger(name, in: range).map(Int.init) }
        }
        optional("buffer_before_minutes", 0...720, &bufferBeforeMinutes)
        optional("buffer_after_minutes", 0...720, &bufferAfterMinutes)
        optional("minimum_notice_minutes", 0...525_600, &minimumNoticeMinutes)
        optional("maximum_advance_days", 0...1825, &maximumAdvanceDays)
        optional("start_interval_minutes", 5...1440, &startIntervalMinutes)
        if fields.has("auto_confirm") { confirmsAtOnce = fields.optionalBool("auto_confirm") }
        if fields.has("public_booking") { isPublic = fields.optionalBool("public_booking") ?? true }
        fields.limits(&limits)
        if fields.has("category_id") {
            category = nil
            if let text = fields.optionalText("category_id", max: 64) {
                if let id = CategoryID(text), book.categories[id] != nil {
                    category = id
                } else {
                    fields.refuse("category_id", "não há categoria com este id")
                }
            }
        }
        if fields.has("staff_ids") {
            let texts = fields.optionalTexts("staff_ids", maxCount: 200, maxLength: 64) ?? []
            staff = texts.compactMap { StaffID($0) }
            if staff.count != texts.count || !staff.allSatisfy({ id in book.staff.contains { $0.id == id } }) {
                fields.refuse("staff_ids", "não há profissional com um destes ids")
            }
        }
        try fields.check()
    }

    /// The contract's list: addresses elsewhere, and those of this service's own files, which stay while they are named.
    private func readImages(_ fields: inout RequestFields) -> [String] {
        let own = imageAddress("")
        return (fields.optionalTexts("images", maxCount: Self.maxImages, maxLength: 2000) ?? []).compactMap { text in
            if text.hasPrefix(own), images.contains(String(text.dropFirst(own.count))) { return String(text.dropFirst(own.count)) }
            if text.hasPrefix("https://") || text.hasPrefix("http://"), !text.contains(where: \.isWhitespace) { return text }
            fields.refuse("images", "cada imagem deve ser um endereço http(s), ou uma das deste serviço", type: "url")
            return nil
        }
    }
}
