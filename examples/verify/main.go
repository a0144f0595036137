// Verify reads every byte of a store and checks it: checksums of batches and of sealed segments, offsets, indexes, small
// files. It takes no lock and writes nothing, so it works beside a live process.
//
//	go run ./examples/verify -dir DIR [-json]
//
// The exit status is 1 if anything is damaged, with the place of it in the report.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"github.com/partlog/partlog/log"
	"github.com/partlog/partlog/partition"
)

func main() {
	dir := flag.String("dir", "", "directory of the store (required)")
	asJSON := flag.Bool("json", false, "print the report as JSON")
	flag.Parse()
	if *dir == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	damaged, err := run(context.Background(), *dir, *asJSON, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "verify:", err)
	}
	if damaged || err != nil {
		os.Exit(1)
	}
}

func run(ctx context.Context, dir string, asJSON bool, stdout io.Writer) (damaged bool, err error) {
	store, err := partition.OpenReadOnly(dir, partition.Config{})
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	report, err := store.Verify(ctx)
	if err != nil {
		return false, err
	}
	if asJSON {
		e := json.NewEncoder(stdout)
		e.SetIndent("", "  ")
		return report.Damaged(), e.Encode(report)
	}
	print(stdout, report)
	return report.Damaged(), nil
}

// print writes a report for people: damage and notes by their places, then the totals.
func print(w io.Writer, r *partition.VerifyReport) {
	var batches, records, bytes int64
	for _, p := range r.Partitions {
		batches, records, bytes = batches+p.Batches, records+p.Records, bytes+p.Bytes
		for _, f := range p.Findings {
			if f.Kind == log.CleanEnd || f.Kind == log.ZeroTail {
				continue
			}
			fmt.Fprintf(w, "%s-%d: %s: %s at byte %d (%d bytes), offsets %d to %d", p.Topic, p.Partition, f.Kind, f.Path, f.Position, f.Bytes, f.Offset, f.NextOffset)
			if f.Detail != "" {
				fmt.Fprintf(w, ": %s", f.Detail)
			}
			fmt.Fprintln(w)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.Unreadable)) {
		fmt.Fprintf(w, "%s: unreadable: %s\n", name, r.Unreadable[name])
	}
	for _, name := range r.Foreign {
		fmt.Fprintf(w, "not ours, left alone: %s\n", name)
	}
	state := "open, or not closed cleanly"
	if r.Clean {
		state = "closed cleanly"
	}
	fmt.Fprintf(w, "store %s (cluster %s, %s): %d topics, %d partitions, %d batches, %d records, %d bytes\n",
		r.Dir, r.ClusterID, state, r.Topics, len(r.Partitions), batches, records, bytes)
	if r.Damaged() {
		fmt.Fprintln(w, "DAMAGED")
	} else {
		fmt.Fprintln(w, "no damage")
	}
}
