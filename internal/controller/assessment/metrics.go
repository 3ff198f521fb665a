package assessment

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	seconds  *prometheus.HistogramVec
	failures *prometheus.CounterVec
	wrong    prometheus.Gauge
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "sluice_health_script_duration_seconds", Help: "Duration of health scripts in seconds.",
			Buckets: []float64{.0001, .0005, .001, .005, .01, .05, .1, .5, 1, 2},
		}, []string{"source"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_health_script_failures_total", Help: "Health scripts that ended with an error or were stopped at a limit.",
		}, []string{"source", "reason"}),
		wrong: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "sluice_resource_customizations_invalid", Help: "Customizations of argocd-cm that cannot be used.",
		}),
	}
	r.MustRegister(m.seconds, m.failures, m.wrong)
	return m
}
