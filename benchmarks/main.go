// Command benchmarks runs partlog and its rivals side by side: one process, interleaved, a fresh directory for
// every cell, only acknowledged records counted, everything read back and verified.
//
//	cd benchmarks && go run . [-cells RE] [-rivals RE] [-time 2s] [-repeat 5] [-dir DIR] [-json FILE]
//
// A row is the median of its repeats. ratio is ours over the best rival of equal durability; raw_ratio is ours over the
// physical limit (system "raw": a plain pwrite, pwrite and fdatasync, memcpy and CRC). In cells whose measure is a
// latency both are inverted, so that more than 1 is always better. Systems whose durability is below the cell's are
// shown with their own durability and take no part in the ratio.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"
)

// options are what the flags say.
type options struct {
	cells, rivals *regexp.Regexp
	time          time.Duration
	repeat        int
	dir, json     string
}

func parse() (options, error) {
	var o options
	cells := flag.String("cells", ".", "run the cells whose name matches")
	rivals := flag.String("rivals", ".", "run the rivals whose name matches; partlog and raw always run")
	flag.DurationVar(&o.time, "time", 2*time.Second, "length of one run of one system in one cell")
	flag.IntVar(&o.repeat, "repeat", 5, "runs of each system in each cell; the median is shown")
	flag.StringVar(&o.dir, "dir", "", "directory to work in, on the disk to be measured; empty: the temporary directory")
	flag.StringVar(&o.json, "json", "", "write rows as JSON lines to this file as well")
	flag.Parse()
	var err error
	if o.cells, err = regexp.Compile(*cells); err != nil {
		return o, err
	}
	if o.rivals, err = regexp.Compile(*rivals); err != nil {
		return o, err
	}
	if o.dir == "" {
		o.dir = os.TempDir()
	}
	return o, nil
}

func main() {
	if system := os.Getenv(brokerVariable); system != "" {
		if err := serveAsBroker(system); err != nil {
			fmt.Fprintln(os.Stderr, "benchmarks: broker", system+":", err)
			os.Exit(1)
		}
		return
	}
	o, err := parse()
	if err == nil {
		err = run(o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchmarks:", err)
		os.Exit(1)
	}
}

func run(o options) error {
	root, err := os.MkdirTemp(o.dir, "partlog-benchmarks-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(root)

	var out *json.Encoder
	if o.json != "" {
		f, err := os.Create(o.json)
		if err != nil {
			return err
		}
		defer f.Close()
		out = json.NewEncoder(f)
	}

	fmt.Printf("%s, %d CPUs, %s per run, median of %d\n", runtime.Version(), runtime.GOMAXPROCS(0), o.time, o.repeat)
	printHeading()
	for _, c := range cells() {
		if !o.cells.MatchString(c.name) {
			continue
		}
		rows, err := runCell(o, root, c)
		if err != nil {
			return fmt.Errorf("cell %s: %w", c.name, err)
		}
		for _, r := range rows {
			r.print()
			if out != nil {
				if err := out.Encode(r); err != nil {
					return err
				}
			}
		}
		if c.note != "" {
			fmt.Printf("%-24s %s\n", c.name, c.note)
		}
	}
	return nil
}

// runCell runs every system of the cell o.repeat times, interleaved, and returns one row a system.
func runCell(o options, root string, c cell) ([]row, error) {
	samples := make(map[string][]sample)
	var order []contender
	for _, s := range c.contenders {
		if s.name == "partlog" || s.name == "raw" || o.rivals.MatchString(s.name) {
			order = append(order, s)
		}
	}
	for repeat := range o.repeat {
		for i := range order {
			s := order[(i+repeat)%len(order)]
			dir := filepath.Join(root, fmt.Sprintf("%s-%s-%d", c.name, s.name, repeat))
			if err := os.Mkdir(dir, 0o700); err != nil {
				return nil, err
			}
			settle()
			got, err := s.run(environment{dir: dir, duration: o.time})
			if err != nil {
				return nil, fmt.Errorf("%s: %w", s.name, err)
			}
			samples[s.name] = append(samples[s.name], got)
			if err := os.RemoveAll(dir); err != nil {
				return nil, err
			}
		}
	}
	return rowsOf(c, order, samples), nil
}

// settle gives every run the same start: no garbage and no dirty pages of the run before it.
func settle() {
	debug.FreeOSMemory()
	syscall.Sync()
}
