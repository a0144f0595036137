package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// row is one system in one cell: a line of the JSON output.
type row struct {
	Cell            string             `json:"cell"`
	System          string             `json:"system"`
	Durability      string             `json:"durability"`
	RecordsPerS     float64            `json:"records_per_s"`
	MBPerS          float64            `json:"mb_per_s"`
	P50us           float64            `json:"p50_us"`
	P99us           float64            `json:"p99_us"`
	P999us          float64            `json:"p999_us"`
	AllocsPerRecord float64            `json:"allocs_per_record"`
	Ratio           float64            `json:"ratio,omitempty"`
	RawRatio        float64            `json:"raw_ratio,omitempty"`
	Best            string             `json:"best_rival,omitempty"`
	Spread          float64            `json:"spread"` // (max-min)/median of records_per_s over the repeats
	Extra           map[string]float64 `json:"extra,omitempty"`
}

func rowsOf(c cell, order []contender, samples map[string][]sample) []row {
	var rows []row
	for _, s := range order {
		rows = append(rows, rowOf(c, s, samples[s.name]))
	}
	ours := slices.IndexFunc(rows, func(r row) bool { return r.System == "partlog" })
	if ours < 0 {
		return rows
	}
	us := &rows[ours]
	if c.cpu {
		compareCPU(us, rows)
	}
	for _, r := range rows {
		switch {
		case r.System == "partlog":
		case r.System == "raw":
			us.RawRatio = c.compare(*us, r)
		case r.Durability == us.Durability:
			if ratio := c.compare(*us, r); us.Best == "" || ratio < us.Ratio {
				us.Ratio, us.Best = ratio, r.System
			}
		}
	}
	return rows
}

// compareCPU says how much more processor time the best rival takes for a record.
func compareCPU(us *row, rows []row) {
	for _, r := range rows {
		if ratio := r.Extra["cpu_ns"] / us.Extra["cpu_ns"]; r.System != "partlog" && r.System != "raw" &&
			(us.Extra["cpu_ratio"] == 0 || ratio < us.Extra["cpu_ratio"]) {
			us.Extra["cpu_ratio"] = ratio
		}
	}
}

// rowOf takes the median of each figure over the repeats.
func rowOf(c cell, s contender, got []sample) row {
	of := func(f func(sample) float64) float64 { return median(got, f) }
	r := row{
		Cell: c.name, System: s.name, Durability: s.durability,
		RecordsPerS:     of(sample.rate),
		MBPerS:          of(func(s sample) float64 { return float64(s.bytes) / 1e6 / s.elapsed.Seconds() }),
		P50us:           of(func(s sample) float64 { return s.hist.quantile(0.5) }),
		P99us:           of(func(s sample) float64 { return s.hist.quantile(0.99) }),
		P999us:          of(func(s sample) float64 { return s.hist.quantile(0.999) }),
		AllocsPerRecord: of(func(s sample) float64 { return float64(s.mallocs) / float64(max(s.records, 1)) }),
	}
	low, high := got[0].rate(), got[0].rate()
	for _, s := range got {
		low, high = min(low, s.rate()), max(high, s.rate())
		for k := range s.extra {
			if r.Extra == nil {
				r.Extra = map[string]float64{}
			}
			r.Extra[k] = of(func(s sample) float64 { return s.extra[k] })
		}
	}
	r.Spread = (high - low) / r.RecordsPerS
	return r
}

func median(got []sample, f func(sample) float64) float64 {
	v := make([]float64, len(got))
	for i, s := range got {
		v[i] = f(s)
	}
	slices.Sort(v)
	return v[len(v)/2]
}

func printHeading() {
	fmt.Printf("\n%-24s %-10s %-8s %12s %9s %9s %9s %9s %8s %7s %7s %s\n",
		"cell", "system", "durable", "records/s", "MB/s", "p50 µs", "p99 µs", "p99.9 µs", "allocs", "ratio", "raw", "best rival")
}

func (r row) print() {
	fmt.Printf("%-24s %-10s %-8s %12.0f %9.1f %9.2f %9.1f %9.1f %8.3f %7s %7s %s%s\n",
		r.Cell, r.System, r.Durability, r.RecordsPerS, r.MBPerS, r.P50us, r.P99us, r.P999us, r.AllocsPerRecord,
		number(r.Ratio), number(r.RawRatio), r.Best, r.extras())
}

func number(v float64) string {
	if v == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", v)
}

func (r row) extras() string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(r.Extra)) {
		parts = append(parts, fmt.Sprintf(" %s=%.4g", k, r.Extra[k]))
	}
	return strings.Join(parts, "")
}
