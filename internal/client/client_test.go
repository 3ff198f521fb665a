package client_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sluice-cd/sluice/internal/client"
	"github.com/sluice-cd/sluice/internal/server/application"
	"github.com/sluice-cd/sluice/internal/server/cluster"
	"github.com/sluice-cd/sluice/internal/server/fault"
)

func TestCalls(t *testing.T) {
	t.Parallel()
	var seen string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = r.Method + " " + r.RequestURI + " " + r.Header.Get("Authorization")
		switch {
		case strings.HasPrefix(r.URL.Path, "/api/v1/stream"):
			fmt.Fprintln(w, `{"result":{"type":"ADDED","application":{"metadata":{"name":"a"}}}}`)
			fmt.Fprintln(w, `{"error":{"grpc_code":7,"message":"permission denied"}}`)
		case r.Method == http.MethodDelete:
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprintln(w, `{"error":"permission denied","code":7,"message":"permission denied"}`)
		default:
			fmt.Fprintln(w, `{"items":[{"metadata":{"name":"a"}}]}`)
		}
	}))
	defer server.Close()
	c := client.New(client.Options{Server: server.URL + "/root/", Token: "t"})
	list, err := c.ApplicationList(t.Context(), &application.ListQuery{Query: application.Query{Projects: []string{"a", "b"}, Selector: "x=y"}})
	if err != nil || len(list.Items) != 1 || list.Items[0].Name != "a" {
		t.Errorf("%v, %v", list, err)
	}
	if want := "GET /root/api/v1/applications?projects=a&projects=b&selector=x%3Dy Bearer t"; seen != want {
		t.Errorf("sent %s, want %s", seen, want)
	}
	_, err = c.ClusterDelete(t.Context(), &cluster.Query{ID: "https://x/y", IDType: "url"})
	if code, _ := fault.Of(err); code != fault.PermissionDenied || seen != "DELETE /root/api/v1/clusters/https:%2F%2Fx%2Fy?id.type=url Bearer t" {
		t.Errorf("%v after %s", err, seen)
	}
	if _, err := c.ApplicationGet(t.Context(), &application.GetQuery{}); err == nil || !strings.Contains(err.Error(), "{name}") {
		t.Errorf("a request without a name: %v", err)
	}
}

func TestStream(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, `{"result":{"type":"ADDED","application":{"metadata":{"name":"a"}}}}`)
		fmt.Fprintln(w, `{"error":{"grpc_code":7,"message":"permission denied"}}`)
	}))
	defer server.Close()
	c := client.New(client.Options{Server: server.URL})
	var got []string
	for event, err := range c.ApplicationWatch(context.WithoutCancel(t.Context()), &application.Query{}) {
		if err != nil {
			code, message := fault.Of(err)
			got = append(got, fmt.Sprint(code, message))
			continue
		}
		got = append(got, event.Type+event.Application.Name)
	}
	if text := strings.Join(got, " "); text != "ADDEDa PermissionDeniedpermission denied" {
		t.Errorf("got %s", text)
	}
}
