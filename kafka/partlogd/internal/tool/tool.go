package tool

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
)

// Streams are where a command reads and writes. They need not be files.
type Streams struct {
	In  io.Reader
	Out io.Writer
	Err io.Writer
}

// Command is a word behind the program's name.
type Command struct {
	Name, Summary string
	Run           func(ctx context.Context, args []string, s Streams) error
}

// Commands are those of this package, in the order in which help lists them.
func Commands() []Command {
	return []Command{
		{"produce", "send lines of standard input, as kafka-console-producer", produce},
		{"consume", "print records, as kafka-console-consumer", consume},
		{"topics", "create, list, describe, alter, delete topics, as kafka-topics", topics},
		{"groups", "list, describe, delete groups, reset their offsets, as kafka-consumer-groups", groups},
		{"offsets", "first, last and other offsets of partitions, as kafka-get-offsets", offsets},
		{"verify", "read and check every byte of a store, or every batch of a broker", verify},
		{"dump", "show the files of partitions, as kafka-dump-log", dump},
		{"cluster", "nodes, partitions, reassignments and elections of a cluster", clusterCommand},
		{"quorum", "show the controller quorum's log and snapshots of a node, recover it from one survivor", quorumCommand},
		{"features", "show, raise and lower the levels of features, as kafka-features", featuresCommand},
		{"perf", "measure, as kafka-producer-perf-test, kafka-consumer-perf-test and kafka-e2e-latency", perf},
	}
}

// UsageError is a command line that does not make sense.
type UsageError struct{ Err error }

// Error is the mistake.
func (e *UsageError) Error() string { return e.Err.Error() }

// Unwrap returns what is behind it.
func (e *UsageError) Unwrap() error { return e.Err }

// Usagef makes a *UsageError.
func Usagef(format string, args ...any) error { return &UsageError{fmt.Errorf(format, args...)} }

// flags reads a command line in which words may stand between flags.
type flags struct {
	*flag.FlagSet
	name, help string
	words      []string // what is no flag
}

func newFlags(name, help string) *flags {
	f := &flags{flag.NewFlagSet(name, flag.ContinueOnError), name, help, nil}
	f.SetOutput(io.Discard)
	return f
}

// parse reads args. For --help it prints the text and returns flag.ErrHelp.
func (f *flags) parse(args []string, out io.Writer) error {
	for {
		err := f.Parse(args)
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprint(out, strings.TrimPrefix(f.help, "\n"))
			return err
		}
		if err != nil {
			return Usagef("%w\n(partlogd %s --help tells what there is)", err, f.name)
		}
		if f.NArg() == 0 {
			return nil
		}
		f.words = append(f.words, f.Arg(0))
		args = f.Args()[1:]
	}
}

// noWords refuses what is no flag.
func (f *flags) noWords() error {
	if len(f.words) > 0 {
		return Usagef("%q is no flag of partlogd %s\n(partlogd %s --help tells what there is)", f.words[0], f.name, f.name)
	}
	return nil
}

// list is a flag that may be repeated, or has several values with commas between.
type list []string

func (l *list) String() string { return strings.Join(*l, ",") }

// Set adds values.
func (l *list) Set(s string) error {
	for item := range strings.SplitSeq(s, ",") {
		if item = strings.TrimSpace(item); item != "" {
			*l = append(*l, item)
		}
	}
	return nil
}

// pairs is a flag KEY=VALUE that may be repeated.
type pairs map[string]string

func (p *pairs) String() string { return "" }

// Set adds one.
func (p *pairs) Set(s string) error {
	k, v, ok := strings.Cut(s, "=")
	if !ok || k == "" {
		return errors.New("want KEY=VALUE")
	}
	if *p == nil {
		*p = pairs{}
	}
	(*p)[k] = v
	return nil
}

// is reads a switch among pairs.
func (p pairs) is(key string) bool { return strings.EqualFold(p[key], "true") }

// text reads a value among pairs, in which a backslash escapes as in Java's property files, with its default.
func (p pairs) text(key, otherwise string) string {
	v, ok := p[key]
	if !ok {
		return otherwise
	}
	return strings.NewReplacer(`\t`, "\t", `\n`, "\n", `\r`, "\r", `\\`, `\`).Replace(v)
}
