package inspect

import (
	"slices"
	"strings"
)

// maxDepth bounds the chain of owners.
const maxDepth = 16

// Grow orders nodes: the roots by key, and behind each what it owns. Nodes
// that reach no root are left out. References to parents among the nodes get
// the namespace and version that the parent has.
func Grow(roots, others []Node) []Node {
	byUID := map[string]*Node{}
	children := map[string][]*Node{}
	for i := range roots {
		byUID[roots[i].UID] = &roots[i]
	}
	for i := range others {
		n := &others[i]
		byUID[n.UID] = n
		for _, p := range n.Parents {
			children[p.UID] = append(children[p.UID], n)
		}
	}
	g := growth{byUID: byUID, children: children, seen: map[string]bool{}}
	sorted := make([]*Node, len(roots))
	for i := range roots {
		sorted[i] = &roots[i]
	}
	slices.SortFunc(sorted, compare)
	for _, r := range sorted {
		g.add(r, 0)
	}
	return g.out
}

type growth struct {
	byUID    map[string]*Node
	children map[string][]*Node
	seen     map[string]bool
	out      []Node
}

func (g *growth) add(n *Node, depth int) {
	if n.UID != "" && g.seen[n.UID] || depth > maxDepth {
		return
	}
	g.seen[n.UID] = true
	node := *n
	node.Parents = slices.Clone(n.Parents)
	for i, p := range node.Parents {
		if parent := g.byUID[p.UID]; parent != nil {
			node.Parents[i] = parent.Object
		}
	}
	g.out = append(g.out, node)
	if n.UID == "" {
		return
	}
	below := slices.Clone(g.children[n.UID])
	slices.SortFunc(below, compare)
	for _, c := range below {
		g.add(c, depth+1)
	}
}

func compare(a, b *Node) int {
	return strings.Compare(a.Key().String(), b.Key().String())
}
