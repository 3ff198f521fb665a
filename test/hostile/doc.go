// Package hostile lists what attackers have tried on systems like this one:
// spellings of paths, targets of links, URLs, arguments, kustomizations,
// charts, archives and YAML. They are the seeds of fuzz targets, and the cases
// of tests that go through all of them. The names in comments are those of the
// advisories that a case replays.
//
// A Trap tells whether anything outside a tree was opened or run: its files
// and programs are watched by the kernel.
package hostile
