// Package assessment is the health assessor of the controllers: shipped rules
// and, rebuilt whenever argocd-cm changes, the scripts of the settings.
//
//	argocd-cm ─► Reload ─► assessor + empty memory, swapped at once
//	object ────► Assess ─► script? memory by (uid, resourceVersion) ─► verdict
//
// Verdicts of scripts depend on the object alone, so they are remembered;
// rules in Go also look at pods and are cheap, so they are not.
package assessment
