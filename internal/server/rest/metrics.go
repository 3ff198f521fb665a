package rest

import (
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/utils/clock"

	"github.com/sluice-cd/sluice/internal/server/fault"
	"github.com/sluice-cd/sluice/internal/server/route"
)

// metrics are those of the gRPC methods that dashboards know
// (spec/observability.md §2.2), whatever the transport, and two of our own.
type metrics struct {
	started, handled, received, sentTotal *prometheus.CounterVec
	seconds                               *prometheus.HistogramVec
	streams                               *prometheus.GaugeVec
	// handling is nil unless it is asked for.
	handling *prometheus.HistogramVec
}

func newMetrics(o Options) *metrics {
	registerer, table := o.Registerer, o.Table
	labels := []string{"grpc_service", "grpc_method", "grpc_type"}
	counter := func(name, help string, labels []string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &metrics{
		started:   counter("grpc_server_started_total", "Calls of the API that were begun.", labels),
		handled:   counter("grpc_server_handled_total", "Calls of the API that ended, by code.", append(labels, "grpc_code")),
		received:  counter("grpc_server_msg_received_total", "Messages that the API received.", labels),
		sentTotal: counter("grpc_server_msg_sent_total", "Messages that the API sent.", labels),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "sluice_server_request_seconds", Help: "Time that unary calls of the API took.", Buckets: []float64{.001, .005, .02, .05, .1, .25, .5, 1, 2, 5, 10, 30},
		}, []string{"grpc_service", "grpc_method"}),
		streams: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "sluice_server_streams", Help: "Streams that are open."}, []string{"grpc_service", "grpc_method"}),
	}
	if registerer != nil {
		registerer.MustRegister(m.started, m.handled, m.received, m.sentTotal, m.seconds, m.streams)
	}
	if o.Histogram {
		m.handling = prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "grpc_server_handling_seconds", Help: "Time that calls of the API took.", Buckets: prometheus.DefBuckets}, labels)
		if registerer != nil {
			registerer.MustRegister(m.handling)
		}
	}
	for i := range table {
		m.started.WithLabelValues(labelsOf(&table[i])...)
	}
	return m
}

func labelsOf(line *route.Route) []string {
	kind := "unary"
	if line.Streams {
		kind = "server_stream"
	}
	return []string{line.Service(), line.Operation(), kind}
}

// start counts a call; the function returned ends it.
func (m *metrics) start(line *route.Route, clk clock.PassiveClock) (done func(fault.Code)) {
	labels, begin := labelsOf(line), clk.Now()
	m.started.WithLabelValues(labels...).Inc()
	m.received.WithLabelValues(labels...).Inc()
	if line.Streams {
		m.streams.WithLabelValues(labels[:2]...).Inc()
	}
	return func(code fault.Code) {
		m.handled.WithLabelValues(append(labels, code.String())...).Inc()
		if m.handling != nil {
			m.handling.WithLabelValues(labels...).Observe(clk.Since(begin).Seconds())
		}
		if line.Streams {
			m.streams.WithLabelValues(labels[:2]...).Dec()
			return
		}
		m.sent(line)
		m.seconds.WithLabelValues(labels[:2]...).Observe(clk.Since(begin).Seconds())
	}
}

// refused counts a call that never reached its handler.
func (m *metrics) refused(line *route.Route, code fault.Code) {
	labels := labelsOf(line)
	m.started.WithLabelValues(labels...).Inc()
	m.handled.WithLabelValues(append(labels, code.String())...).Inc()
}

func (m *metrics) sent(line *route.Route) { m.sentTotal.WithLabelValues(labelsOf(line)...).Inc() }
