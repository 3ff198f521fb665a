package render_test

import (
	"reflect"
	"testing"

	"github.com/sluice-cd/sluice/internal/adapter/render"
)

// TestFingerprintKnowsEverySetting changes each field of Settings, also one
// that is added later, and wants another fingerprint.
func TestFingerprintKnowsEverySetting(t *testing.T) {
	var change func(v reflect.Value, name string, s *render.Settings)
	change = func(v reflect.Value, name string, s *render.Settings) {
		for i := range v.NumField() {
			f, field := v.Field(i), name+v.Type().Field(i).Name
			switch f.Kind() {
			case reflect.Struct:
				change(f, field+".", s)
				continue
			case reflect.Bool:
				f.SetBool(true)
			case reflect.Int64:
				f.SetInt(7)
			case reflect.Slice:
				f.Set(reflect.MakeSlice(f.Type(), 1, 1))
			default:
				t.Fatalf("%s: teach this test about %s", field, f.Kind())
			}
			if s.Fingerprint() == (render.Settings{}).Fingerprint() {
				t.Errorf("%s is not part of the fingerprint", field)
			}
			f.SetZero()
		}
	}
	var s render.Settings
	change(reflect.ValueOf(&s).Elem(), "", &s)
}
