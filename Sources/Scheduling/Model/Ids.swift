package import Kernel

package enum ServiceKind {}
package enum CategoryKind {}
package enum StaffKind {}
package enum AppointmentKind {}
package enum HoldKind {}
package enum ClientKind {}
package enum WaitlistKind {}
package enum TimeOffKind {}
package enum SeriesKind {}
package typealias ServiceID = Identifier<ServiceKind>
package typealias CategoryID = Identifier<CategoryKind>
package typealias StaffID = Identifier<StaffKind>
package typealias AppointmentID = Identifier<AppointmentKind>
package typealias HoldID = Identifier<HoldKind>
package typealias ClientID = Identifier<ClientKind>
package typealias WaitlistID = Identifier<WaitlistKind>
package typealias TimeOffID = Identifier<TimeOffKind>
package typealias SeriesID = Identifier<SeriesKind>
