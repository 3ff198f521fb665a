package eventlog

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/record"
)

// correlation bounds the events of the controllers. Usually an object may have
// 25 events and then one every five minutes, whatever they say: three rollouts
// in a row would use that up, and nobody would read that the fourth is halted.
// Here each reason has a bound of its own, so that one that floods silences no
// other, and enough room for a rollout of many steps.
func correlation() record.CorrelatorOptions {
	return record.CorrelatorOptions{
		BurstSize: 100, QPS: 0.1, MaxEvents: 100,
		SpamKeyFunc: func(e *corev1.Event) string {
			o := e.InvolvedObject
			return strings.Join([]string{e.Source.Component, o.Kind, o.Namespace, o.Name, string(o.UID), e.Reason}, "\x00")
		},
	}
}
