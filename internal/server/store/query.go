package store

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/internal/server/fault"
)

// Page is the part of a list that is asked for: additions of Sluice, which
// clients of Argo CD do not send.
type Page struct {
	// Search keeps objects whose searchable texts contain it, in any case.
	Search string `json:"-" query:"search"`
	// Sort is a column, with a leading - descending; default: name.
	Sort string `json:"-" query:"sort"`
	// Limit is the number of items, 0 is all; Offset skips items.
	Limit  int64 `json:"-" query:"limit"`
	Offset int64 `json:"-" query:"offset"`
}

// Columns say how a kind is searched and sorted.
type Columns[T client.Object] struct {
	// Texts are searched.
	Texts func(T) []string
	// Sort holds the values of sortable columns; name is always one.
	Sort map[string]func(T) string
}

// Selector parses a label selector.
func Selector(text string) (labels.Selector, error) {
	if text == "" {
		return labels.Everything(), nil
	}
	s, err := labels.Parse(text)
	if err != nil {
		return nil, fault.New(fault.InvalidArgument, "parameter selector: %w", err)
	}
	return s, nil
}

// Cut sorts and cuts objects that keep lets through, and says how many there
// are. keep is asked for every object, whatever the page.
func Cut[T client.Object](all Snapshot[T], keep func(*Shared[T]) bool, p Page, columns Columns[T]) (items []T, total int, err error) {
	name, descending := strings.CutPrefix(p.Sort, "-")
	ordered := all.Items
	if name != "" && name != "name" {
		column, ok := columns.Sort[name]
		if !ok {
			return nil, 0, fault.New(fault.InvalidArgument, "parameter sort: %q is no column: use one of %s", name, strings.Join(columns.names(), ", "))
		}
		ordered = all.by(name, column)
	}
	if p.Limit < 0 || p.Offset < 0 {
		return nil, 0, fault.New(fault.InvalidArgument, "parameters limit and offset: want 0 or more")
	}
	search := strings.ToLower(p.Search)
	for i := range ordered {
		s := ordered[i]
		if descending {
			s = ordered[len(ordered)-1-i]
		}
		if search != "" && !strings.Contains(s.searched(columns.Texts), search) || !keep(s) {
			continue
		}
		if at := int64(total); at >= p.Offset && (p.Limit == 0 || at-p.Offset < p.Limit) {
			items = append(items, s.Object)
		}
		total++
	}
	return items, total, nil
}

// names lists the columns that can be sorted by.
func (c Columns[T]) names() []string {
	known := slices.AppendSeq([]string{"name"}, maps.Keys(c.Sort))
	slices.Sort(known)
	return known
}

// Remaining is how many items come after a page, nil on the last one.
func Remaining(p Page, shown, total int) *int64 {
	if p.Limit == 0 {
		return nil
	}
	left := int64(total) - p.Offset - int64(shown)
	if left <= 0 {
		return nil
	}
	return &left
}

// Continue is the offset of the next page as a text, "" on the last one.
func Continue(p Page, shown, total int) string {
	if Remaining(p, shown, total) == nil {
		return ""
	}
	return strconv.FormatInt(p.Offset+int64(shown), 10)
}
