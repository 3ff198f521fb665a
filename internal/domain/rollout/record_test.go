package rollout

import (
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

func TestRecordRoundTrip(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 3, 2000} {
		mem := &memory{Mode: modeRollingBack, Sticky: HaltSyncFailed, PausedFor: 12, Handled: map[string]string{"a": "b|c\nd"}, Steps: []stepMemory{{Key: "x", Baked: 7}, {Key: "y"}}}
		for i := range n {
			e := entry{Name: strings.Repeat("a", 1+i%200), Status: Healthy, Reason: ReasonRemaining, Step: i % 5, Since: int64(i), Revisions: []string{"r|1", "r\n2"}, Spec: "s", Key: "k"}
			if i%2 == 1 {
				e = entry{Name: "b", Status: Pending, Attempt: 7, Batch: 2, Admitted: 3, FailedAt: 1, Issued: 2, Asked: 3, Heals: 4, HealedAt: 5, Flags: touched | undone, Point: 9, UID: "u", Revisions: nil}
			}
			mem.entries = append(mem.entries, e)
		}
		text, err := mem.encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := decode(text)
		if err != nil {
			t.Fatalf("%d entries: %v", n, err)
		}
		if diff := cmp.Diff(mem.entries, got.entries, cmp.AllowUnexported(entry{})); n > 0 && diff != "" {
			t.Fatalf("%d entries (-want +got):\n%s", n, diff)
		}
		if packed := strings.HasPrefix(text, packedRecord); packed != (n == 2000) {
			t.Errorf("%d entries: packed %v", n, packed)
		}
		if got.Mode != mem.Mode || got.Handled["a"] != "b|c\nd" || got.Steps[0].Baked != 7 {
			t.Errorf("head is %+v", got)
		}
	}
}

// FuzzRecord requires that no text that somebody writes into the status does
// more than fail to be read.
func FuzzRecord(f *testing.F) {
	for _, seed := range []string{"", "1t:", "1t:{}", "1t:{}\na|W||0|0|0", "1z:AAAA", "1t:{\"l\":[[\"r\"]]}\na|H||1|0|zz", "1t:{\"l\":[[]]}\na|H||1|-1|zz", "2t:{}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		mem, err := decode(text)
		if err != nil {
			return
		}
		again, err := mem.encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decode(again); err != nil {
			t.Fatalf("%q is read and not read again: %v", text, err)
		}
	})
}

// TestEveryFieldOfASourceCounts fails when a field is added to sources that
// sameSource does not look at.
func TestEveryFieldOfASourceCounts(t *testing.T) {
	t.Parallel()
	kind := reflect.TypeFor[v1alpha1.ApplicationSource]()
	for i := range kind.NumField() {
		var a, b v1alpha1.ApplicationSource
		field := reflect.ValueOf(&b).Elem().Field(i)
		switch field.Kind() {
		case reflect.String:
			field.SetString("x")
		case reflect.Pointer:
			field.Set(reflect.New(field.Type().Elem()))
		default:
			t.Fatalf("field %s of a source has kind %s: teach sameSource and this test", kind.Field(i).Name, field.Kind())
		}
		if sameSource(a, b) || !sameSource(b, b) {
			t.Errorf("sources that differ in %s count as the same", kind.Field(i).Name)
		}
	}
}

// TestEveryFieldOfAnEntryIsStored fails when a field is added that the record
// forgets.
func TestEveryFieldOfAnEntryIsStored(t *testing.T) {
	t.Parallel()
	kind := reflect.TypeFor[entry]()
	for i := range kind.NumField() {
		e := entry{Name: "a", Status: Waiting}
		field := reflect.ValueOf(&e).Elem().Field(i)
		switch field.Kind() {
		case reflect.String:
			if kind.Field(i).Name != "Status" {
				field.SetString("x")
			}
		case reflect.Slice:
			field.Set(reflect.ValueOf([]string{"x"}))
		case reflect.Uint16:
			field.SetUint(5)
		default:
			field.SetInt(5)
		}
		text, err := (&memory{entries: []entry{e}}).encode()
		if err != nil {
			t.Fatal(err)
		}
		mem, err := decode(text)
		if err != nil || !reflect.DeepEqual(mem.entries[0], e) {
			t.Errorf("field %s: stored %+v, read %+v, %v", kind.Field(i).Name, e, mem, err)
		}
	}
}
