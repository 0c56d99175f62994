import Telemetry
import Testing

@Suite struct FamilyTests {
    @Test func whatManyThreadsCountAddsUp() async {
        let counter = CounterFamily("a_total", "A", labels: ["who"])
        let histogram = HistogramFamily("b_seconds", "B", bounds: [0.1, 1])
        await withDiscardingTaskGroup { group in
            for task in 0..<8 {
                group.addTask {
                    for _ in 0..<1000 {
                        counter.add(1, LabelValues("\(task % 2)"))
                        histogram.observe(.milliseconds(500))
                    }
                }
            }
        }
        #expect(counter.all == [LabelValues("0"): 4000, LabelValues("1"): 4000])
        #expect(histogram.all[LabelValues()]?.counts == [0, 8000, 0])
        #expect(histogram.all[LabelValues()]?.seconds == 4000)
    }

    @Test func aHistogramIsCumulativeAndEndsWithAll() {
        let histogram = HistogramFamily("b_seconds", "B", labels: ["op"], bounds: [0.1, 1])
        for milliseconds in [50, 100, 500, 5000] { histogram.observe(.milliseconds(milliseconds), LabelValues("read")) }
        var page = MetricsText()
        histogram.write(to: &page)
        #expect(
            page.text == """
                # HELP b_seconds B
                # TYPE b_seconds histogram
                b_seconds_bucket{op="read",le="0.1"} 2
                b_seconds_bucket{op="read",le="1"} 3
                b_seconds_bucket{op="read",le="+Inf"} 4
                b_seconds_sum{op="read"} 5.65
                b_seconds_count{op="read"} 4

                """
        )
    }

    @Test func whatAClientMakesUpDoesNotFillTheMemory() {
        let counter = CounterFamily("a_total", "A", labels: ["who"], maxCombinations: 10)
        for name in 0..<1000 { counter.add(1, LabelValues("\(name)")) }
        // At most so many in each of the parts that threads count in, and one for the rest.
        #expect(counter.all.count <= 16 * 11)
        #expect(counter.all.values.reduce(0, +) == 1000)
    }

    @Test func aValueWithQuotesAndLinesIsEscaped() {
        let counter = CounterFamily("a_total", "A", labels: ["who"])
        counter.add(1, LabelValues("a\"b\\c\nd\u{600}\"\r\n"))
        var page = MetricsText()
        counter.write(to: &page)
        #expect(page.text.utf8.reversed().starts(with: "a_total{who=\"a\\\"b\\\\c\\nd\u{600}\\\"\r\\n\"} 1\n".utf8.reversed()))
    }
}

@Suite struct TracerTests {
    @Test func aTraceparentIsReadAndWritten() throws {
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        let context = try #require(SpanContext(traceparent: text))
        #expect(context.traceparent == text && context.isSampled)
        #expect(SpanContext(traceparent: "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-comes-later") != nil)
    }

    @Test(arguments: [
        "", "00", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331", "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01", "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
        "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01", "00-0af7651916cd43dd8448eb211c80319g-b7ad6b7169203331-01",
    ])
    func whatIsNoContextIsNone(_ text: String) { #expect(SpanContext(traceparent: text) == nil) }

    @Test func spansOfOneTraceHangTogether() async throws {
        let telemetry = Telemetry(tracer: Tracer())
        await telemetry.span("outer", begins: true) { await telemetry.span("inner") {} }
        let spans = try #require(telemetry.tracer?.take(10))
        #expect(spans.map(\.name) == ["inner", "outer"])
        #expect(spans[0].context.traceID == spans[1].context.traceID && spans[0].parent == spans[1].context.span)
        #expect(spans[0].start >= spans[1].start && spans[0].end <= spans[1].end)
    }

    @Test func whatIsNotSampledHasNoSpansAndWhatIsTooMuchIsLeftOut() {
        let none = Tracer(ratio: 0)
        none.end(none.begin("a", in: nil))
        #expect(none.take(10).isEmpty)
        let small = Tracer(capacity: 3)
        for _ in 0..<10 { small.end(small.begin("a", in: nil)) }
        #expect(small.counters.waiting == 3 && small.counters.dropped == 7)
        let asked = SpanContext(traceHigh: 1, traceLow: 1, span: 1, isSampled: false)
        let all = Tracer()
        all.end(all.begin("a", in: asked))
        #expect(all.take(10).isEmpty)
    }

    @Test func withoutATracerNothingIsDone() async {
        let telemetry = Telemetry()
        await telemetry.span("outer", begins: true) { #expect(Trace.current == nil) }
    }
}
