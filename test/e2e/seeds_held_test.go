//go:build soak

package e2e

import "testing"

// TestSeedCommandsThatHold runs D5 to D7 too: a revision that a person synced or
// rolled back to stays, whatever automated sync wants.
func TestSeedCommandsThatHold(t *testing.T) { seedCommands(t, "HELD=yes") }
