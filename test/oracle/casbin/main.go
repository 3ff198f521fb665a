// Command casbin answers what casbin computes for a policy and its requests.
// It reads {"policy": text, "requests": [[sub, res, act, obj], ...]} lines and
// writes one line of answers, y or n, for each.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/casbin/casbin/v3"
	"github.com/casbin/casbin/v3/model"
	"github.com/gobwas/glob"
)

const text = `
[request_definition]
r = sub, res, act, obj
[policy_definition]
p = sub, res, act, obj, eft
[role_definition]
g = _, _
[policy_effect]
e = some(where (p.eft == allow)) && !some(where (p.eft == deny))
[matchers]
m = g(r.sub, p.sub) && globs(r.res, p.res) && globs(r.act, p.act) && globs(r.obj, p.obj)
`

type question struct {
	Policy   [][]string `json:"policy"`
	Requests [][]string `json:"requests"`
}

func main() {
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	for d := json.NewDecoder(in); d.More(); {
		var q question
		err := d.Decode(&q)
		if err == nil {
			err = q.answer()
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "casbin:", err)
			os.Exit(1)
		}
	}
}

func (q question) answer() error {
	m, err := model.NewModelFromString(text)
	if err != nil {
		return err
	}
	e, err := casbin.NewEnforcer(m)
	if err != nil {
		return err
	}
	e.AddFunction("globs", func(args ...any) (any, error) {
		value, pattern := args[0].(string), args[1].(string)
		g, err := glob.Compile(pattern)
		return err == nil && g.Match(value), nil
	})
	for _, line := range q.Policy {
		if line[0] == "g" {
			_, err = e.AddGroupingPolicy(line[1], line[2])
		} else {
			_, err = e.AddPolicy(line[1], line[2], line[3], line[4], line[5])
		}
		if err != nil {
			return err
		}
	}
	var out strings.Builder
	for _, r := range q.Requests {
		ok, err := e.Enforce(r[0], r[1], r[2], r[3])
		switch {
		case err != nil:
			return err
		case ok:
			out.WriteByte('y')
		default:
			out.WriteByte('n')
		}
	}
	_, err = fmt.Println(out.String())
	return err
}
