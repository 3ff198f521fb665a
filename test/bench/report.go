package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"text/tabwriter"
)

// Figure is one line of build/bench.json.
type Figure struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	// Bar is the largest value that is good enough; 0 is no bar.
	Bar float64 `json:"bar"`
	OK  bool    `json:"ok"`
}

func figure(name, unit string, value, bar float64) Figure {
	return Figure{Name: name, Value: value, Unit: unit, Bar: bar, OK: bar == 0 || value <= bar}
}

// report prints the table, merges the figures into the file by name and fails
// when a bar does not hold.
func report(figures []Figure, path string) error {
	var stored []Figure
	if raw, err := os.ReadFile(path); err == nil {
		if err := json.Unmarshal(raw, &stored); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	missed := 0
	t := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "FIGURE\tVALUE\tUNIT\tBAR\tOK")
	for _, f := range figures {
		fmt.Fprintf(t, "%s\t%.2f\t%s\t%s\t%v\n", f.Name, f.Value, f.Unit, strconv.FormatFloat(f.Bar, 'f', -1, 64), f.OK)
		if !f.OK {
			missed++
		}
		stored = slices.DeleteFunc(stored, func(o Figure) bool { return o.Name == f.Name })
		stored = append(stored, f)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	raw, err := json.MarshalIndent(stored, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, append(raw, '\n'), 0o600); err != nil {
		return err
	}
	if missed > 0 {
		return fmt.Errorf("%d bars do not hold", missed)
	}
	return nil
}

// median sorts the values and gives the one in the middle.
func median(all []float64) float64 {
	slices.Sort(all)
	return all[len(all)/2]
}
