package openapi

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cd/sluice/internal/server/route"
)

type self struct {
	Name  string           `json:"name"`
	Below []self           `json:"below,omitempty"`
	Map   map[string]*self `json:"map,omitempty"`
	At    *metav1.Time     `json:"at,omitempty"`
	On    time.Time        `json:"on"`
	Raw   []byte           `json:"raw"`
	Any   any              `json:"any"`
	Gone  string           `json:"-"`
	metav1.TypeMeta
}

type request struct {
	Name string   `json:"-" path:"name"`
	Many []string `json:"-" query:"many,one"`
	Self self     `json:"self" body:"*"`
}

type whole struct {
	Name string `json:"name" path:"name"`
	Size int64  `json:"size"`
}

func TestDocument(t *testing.T) {
	t.Parallel()
	table := route.Table{
		route.Unary(route.Spec{Method: "PUT", Path: "/x/{name}", RPC: "a.B/C", Rule: route.Needs("things/update"), Summary: "Does."},
			func(context.Context, *route.Call, *request) (*self, error) { return nil, nil }),
		route.Unary(route.Spec{Method: "POST", Path: "/x/{name}", RPC: "a.B/D", Rule: route.Public()},
			func(context.Context, *route.Call, *whole) (*whole, error) { return nil, nil }),
		route.Stream(route.Spec{Method: "GET", Path: "/s/{name...}", RPC: "a.B/S", Rule: route.Lists("things/get"), Fields: true},
			func(context.Context, *route.Call, *request, func(*self) error) error { return nil }),
	}
	raw, err := Document(table, "v1")
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Paths       map[string]map[string]json.RawMessage
		Definitions map[string]json.RawMessage
	}
	if err := json.Unmarshal(raw, &d); err != nil {
		t.Fatal(err)
	}
	compact := func(r json.RawMessage) string {
		var v any
		if err := json.Unmarshal(r, &v); err != nil {
			t.Fatal(err)
		}
		out, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	for where, want := range map[string][]string{
		compact(d.Paths["/x/{name}"]["put"]): {
			`{"in":"path","name":"name","required":true,"type":"string"}`, `"collectionFormat":"multi","in":"query","items":{"type":"string"},"name":"many"`,
			`{"in":"body","name":"body","required":true,"schema":{"$ref":"#/definitions/openapiself"}}`, `"x-sluice-rule":{"access":"guarded","must":["things/update"]}`, `"security":[{"bearer":[]}]`,
		},
		compact(d.Paths["/x/{name}"]["post"]): {`"schema":{"$ref":"#/definitions/openapiwhole"}`, `"access":"open"`},
		compact(d.Paths["/s/{name}"]["get"]):  {`"result":{"$ref":"#/definitions/openapiself"}`, `"name":"fields"`, `"grpc_code"`},
		compact(d.Definitions["openapiself"]): {
			`"below":{"items":{"$ref":"#/definitions/openapiself"},"type":"array"}`, `"map":{"additionalProperties":{"$ref":"#/definitions/openapiself"},"type":"object"}`,
			`"at":{"format":"date-time","type":"string"}`, `"on":{"format":"date-time","type":"string"}`, `"raw":{"format":"byte","type":"string"}`, `"kind":{"type":"string"}`,
		},
	} {
		for _, w := range want {
			if !strings.Contains(where, w) {
				t.Errorf("%s is missing in %s", w, where)
			}
		}
	}
	if strings.Contains(string(raw), "Gone") {
		t.Error("a field that JSON leaves out is described")
	}
	again, err := Document(table, "v1")
	if err != nil || string(again) != string(raw) {
		t.Errorf("not the same twice: %v", err)
	}
}
