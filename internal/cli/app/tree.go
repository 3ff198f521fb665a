package app

import (
	"cmp"
	"io"
	"slices"
	"time"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/cli/client"
	"github.com/sluice-cd/sluice/internal/cli/output"
)

// branch is a node of a tree with the glyphs before it.
type branch struct {
	node   *client.Node
	glyphs string
}

// branches lays a tree out, roots sorted, children below their parents. A
// circle of owners, which a cluster can hold, ends where it closes.
func branches(nodes []client.Node) []branch {
	byUID := map[string]bool{}
	for i := range nodes {
		byUID[nodes[i].UID] = true
	}
	children := map[string][]*client.Node{}
	var roots []*client.Node
	for i := range nodes {
		n := &nodes[i]
		root := true
		for _, p := range n.ParentRefs {
			if byUID[p.UID] && p.UID != n.UID {
				children[p.UID] = append(children[p.UID], n)
				root = false
			}
		}
		if root {
			roots = append(roots, n)
		}
	}
	order := func(a, b *client.Node) int {
		return compareKeys(key{a.Group, a.Kind, a.Namespace, a.Name}, key{b.Group, b.Kind, b.Namespace, b.Name})
	}
	slices.SortFunc(roots, order)
	for _, c := range children {
		slices.SortFunc(c, order)
	}
	var out []branch
	seen := map[*client.Node]bool{}
	var grow func(n *client.Node, own, below string)
	grow = func(n *client.Node, own, below string) {
		if seen[n] {
			return
		}
		seen[n] = true
		out = append(out, branch{n, own})
		all := children[n.UID]
		for i, c := range all {
			if i == len(all)-1 {
				grow(c, below+"└─", below+"  ")
			} else {
				grow(c, below+"├─", below+"│ ")
			}
		}
	}
	for _, r := range roots {
		grow(r, "", "")
	}
	return out
}

// printTree prints the tree of an Application with the state of its objects.
func printTree(w io.Writer, app *v1alpha1.Application, tree *client.Tree, detailed bool, now time.Time) error {
	managed := map[key]state{}
	for _, s := range states(app, nil) {
		managed[s.key] = s
	}
	table := [][]string{{"KIND/NAME", "STATUS", "HEALTH", "MESSAGE"}}
	if detailed {
		table = [][]string{{"KIND/NAME", "STATUS", "HEALTH", "AGE", "MESSAGE", "REASON"}}
	}
	for _, b := range branches(tree.Nodes) {
		n := b.node
		s := managed[key{n.Group, n.Kind, n.Namespace, n.Name}]
		health, message := healthOf(n)
		health, message = cmp.Or(s.health, health), cmp.Or(s.message, message)
		name := b.glyphs + n.Kind + "/" + n.Name
		if detailed {
			table = append(table, []string{name, s.status, health, age(n, now), message, infoOf(n, "Status Reason")})
		} else {
			table = append(table, []string{name, s.status, health, message})
		}
	}
	return output.Table(w, table)
}

func healthOf(n *client.Node) (status, message string) {
	if n.Health == nil {
		return "", ""
	}
	return string(n.Health.Status), n.Health.Message
}

func age(n *client.Node, now time.Time) string {
	if n.CreatedAt == nil {
		return ""
	}
	return output.Age(now, n.CreatedAt.Time)
}

func infoOf(n *client.Node, name string) string {
	for _, i := range n.Info {
		if i.Name == name {
			return i.Value
		}
	}
	return ""
}
