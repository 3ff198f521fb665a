package store

import (
	"cmp"
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
// are. The input is sorted by name and is not changed.
func Cut[T client.Object](all []*Shared[T], keep func(T) bool, p Page, columns Columns[T]) (items []T, total int, err error) {
	column := func(T) string { return "" }
	name, descending := strings.CutPrefix(p.Sort, "-")
	if name != "" && name != "name" {
		var ok bool
		if column, ok = columns.Sort[name]; !ok {
			known := []string{"name"}
			for k := range columns.Sort {
				known = append(known, k)
			}
			slices.Sort(known)
			return nil, 0, fault.New(fault.InvalidArgument, "parameter sort: %q is no column: use one of %s", name, strings.Join(known, ", "))
		}
	}
	if p.Limit < 0 || p.Offset < 0 {
		return nil, 0, fault.New(fault.InvalidArgument, "parameters limit and offset: want 0 or more")
	}
	search := strings.ToLower(p.Search)
	for _, s := range all {
		if keep(s.Object) && (search == "" || found(columns.Texts(s.Object), search)) {
			items = append(items, s.Object)
		}
	}
	if name != "" && name != "name" {
		slices.SortStableFunc(items, func(a, b T) int { return cmp.Compare(column(a), column(b)) })
	}
	if descending {
		slices.Reverse(items)
	}
	total = len(items)
	items = items[min(int(p.Offset), total):]
	if p.Limit > 0 {
		items = items[:min(int(p.Limit), len(items))]
	}
	return items, total, nil
}

func found(texts []string, search string) bool {
	return slices.ContainsFunc(texts, func(t string) bool { return strings.Contains(strings.ToLower(t), search) })
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
