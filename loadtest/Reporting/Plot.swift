import Foundation

/// Latency by percentile as an SVG picture: each further nine is one step to the right, each decade of milliseconds one step up.
struct Plot {
    struct Curve {
        let name: String
        let latencies: Histogram
    }

    let title: String
    let curves: [Curve]

    private static let (width, height) = (760.0, 440.0)
    private static let (left, right, top, bottom) = (70.0, 20.0, 50.0, 60.0)
    private static let colors = ["#0b6e4f", "#c8553d", "#3d5a80", "#8d6a9f", "#b58900", "#555555"]
    private static let nines = [(0.0, "0"), (1.0, "90 %"), (2.0, "99 %"), (3.0, "99.9 %"), (4.0, "99.99 %"), (5.0, "99.999 %")]

    var svg: String {
        let drawn = curves.filter { $0.latencies.count > 0 }
        let values = drawn.flatMap { points($0.latencies).map(\.milliseconds) }.filter { $0 > 0 }
        let low = log10(values.min() ?? 0.1).rounded(.down)
        let high = max(low + 1, log10(values.max() ?? 1).rounded(.up))
        let mostNines = max(1, drawn.flatMap { points($0.latencies).map(\.nines) }.max() ?? 1)
        func x(_ nines: Double) -> Double { Self.left + nines / mostNines * (Self.width - Self.left - Self.right) }
        func y(_ milliseconds: Double) -> Double {
            let part = (log10(max(milliseconds, pow(10, low))) - low) / (high - low)
            return Self.height - Self.bottom - part * (Self.height - Self.top - Self.bottom)
        }

        var lines = [
            #"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 \#(Int(Self.width)) \#(Int(Self.height))" font-family="sans-serif" font-size="12">"#,
            #"<rect width="100%" height="100%" fill="white"/>"#,
            #"<text x="\#(Self.left)" y="24" font-size="15">\#(Self.escaped(title))</text>"#,
        ]
        for (nines, label) in Self.nines where nines <= mostNines {
            lines.append(Self.line(x(nines), Self.top, x(nines), Self.height - Self.bottom, "#ddd"))
            lines.append(#"<text x="\#(Self.number(x(nines)))" y="\#(Self.height - Self.bottom + 18)" text-anchor="middle">\#(label)</text>"#)
        }
        for decade in Int(low)...Int(high) {
            let value = pow(10, Double(decade))
            lines.append(Self.line(Self.left, y(value), Self.width - Self.right, y(value), "#ddd"))
            lines.append(
                #"<text x="\#(Self.left - 8)" y="\#(Self.number(y(value) + 4))" text-anchor="end">\#(value < 1 ? "\(value)" : "\(Int(value))") ms</text>"#
            )
        }
        for (index, curve) in drawn.enumerated() {
            let color = Self.colors[index % Self.colors.count]
            let path = points(curve.latencies).map { "\(Self.number(x($0.nines))),\(Self.number(y($0.milliseconds)))" }.joined(separator: " ")
            lines.append(#"<polyline fill="none" stroke="\#(color)" stroke-width="2" points="\#(path)"/>"#)
            let row = Self.top + 14 + Double(index) * 18
            lines.append(Self.line(Self.left + 12, row - 4, Self.left + 36, row - 4, color))
            lines.append(#"<text x="\#(Self.left + 42)" y="\#(row)">\#(Self.escaped(curve.name))</text>"#)
        }
        lines.append(#"<text x="\#(Self.width / 2)" y="\#(Self.height - 16)" text-anchor="middle">percentile of deliveries</text>"#)
        lines.append("</svg>")
        return lines.joined(separator: "\n") + "\n"
    }

    /// As far to the right as there are values to speak of; the last point is the worst one.
    private func points(_ latencies: Histogram) -> [(nines: Double, milliseconds: Double)] {
        let last = min(5, log10(Double(max(latencies.count, 10))))
        var points = stride(from: 0.0, to: last, by: 0.05).map { (nines: $0, milliseconds: latencies.quantile(1 - pow(10, -$0))) }
        points.append((last, latencies.largestInMilliseconds))
        return points
    }

    private static func line(_ x1: Double, _ y1: Double, _ x2: Double, _ y2: Double, _ color: String) -> String {
        #"<line x1="\#(number(x1))" y1="\#(number(y1))" x2="\#(number(x2))" y2="\#(number(y2))" stroke="\#(color)"/>"#
    }

    private static func number(_ value: Double) -> String { String(format: "%.1f", value) }

    private static func escaped(_ text: String) -> String {
        text.replacingOccurrences(of: "&", with: "&amp;").replacingOccurrences(of: "<", with: "&lt;").replacingOccurrences(of: ">", with: "&gt;")
    }
}
