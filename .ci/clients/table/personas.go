package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/partlog/partlog/kafka/kafkatest"
)

// personas are the columns of the table of releases.
var personas = []*kafkatest.Persona{kafkatest.Kafka28, kafkatest.Kafka39, kafkatest.Kafka40, kafkatest.Kafka41}

// works are what clients do, and the APIs that they need for it.
var works = []struct {
	name string
	keys []int16
}{
	{"produce", []int16{0, 3}},
	{"consume", []int16{1, 2, 3}},
	{"groups", []int16{1, 2, 3, 8, 9, 10, 11, 12, 13, 14}},
	{"transactions", []int16{0, 3, 10, 22, 24, 25, 26, 28}},
	{"topics, configurations, access rules", []int16{3, 19, 20, 29, 30, 31, 32, 33}},
}

// release is what a double of a release serves and, of each of works, the first release of Kafka whose clients can do it here.
type release struct {
	name   string
	served map[int16]span
	since  []string
}

// releases asks the double of each release what it serves, and sends it the newest version of ApiVersions there is, as clients
// that know no better do.
func releases() (all []release, err error) {
	for _, p := range personas {
		r := release{name: p.String(), served: map[int16]span{}}
		if err := r.ask(p); err != nil {
			return nil, fmt.Errorf("%v: %w", p, err)
		}
		for _, w := range works {
			r.since = append(r.since, r.firstClient(w.keys))
		}
		all = append(all, r)
	}
	return all, nil
}

func (r *release) ask(p *kafkatest.Persona) error {
	c, err := kafkatest.Start(kafkatest.As(p))
	if err != nil {
		return err
	}
	defer c.Close()
	k, err := kgo.NewClient(kgo.SeedBrokers(c.Addrs()...))
	if err != nil {
		return err
	}
	defer k.Close()
	resp, err := kmsg.NewPtrApiVersionsRequest().RequestWith(context.Background(), k)
	if err != nil {
		return err
	}
	for _, k := range resp.ApiKeys {
		r.served[k.ApiKey] = span{k.MinVersion, k.MaxVersion}
	}
	if s := r.served[0]; s.min == 0 {
		r.served[0] = span{3, s.max} // advertised from 0, and closes the connection
	}
	return nil
}

// firstClient returns the first release whose clients have a version that is served of each of keys.
func (r *release) firstClient(keys []int16) string {
	for _, name := range slices.Backward(kversion.VersionStrings()) { // the newest is the first
		v := kversion.FromString(name)
		if !slices.ContainsFunc(keys, func(key int16) bool {
			newest, ok := v.LookupMaxKeyVersion(key)
			return !ok || newest < r.served[key].min
		}) {
			return strings.TrimPrefix(name, "v")
		}
	}
	return "none"
}

// doubles is the section of the page about releases.
func doubles(all []release) string {
	var b strings.Builder
	b.WriteString(aboutDoubles)
	columns := func(cell func(release) string) {
		for _, r := range all {
			fmt.Fprintf(&b, " %s |", cell(r))
		}
		b.WriteString("\n")
	}
	line := "|---|" + strings.Repeat("---|", len(all)) + "\n"
	b.WriteString("| clients from |")
	columns(func(r release) string { return r.name })
	b.WriteString(line)
	for i, w := range works {
		fmt.Fprintf(&b, "| %s |", w.name)
		columns(func(r release) string { return r.since[i] })
	}
	b.WriteString("\n| API of a double |")
	columns(func(r release) string { return r.name })
	b.WriteString(line)
	keys := map[int16]bool{}
	for _, r := range all {
		for key := range r.served {
			keys[key] = true
		}
	}
	for _, key := range slices.SortedFunc(maps.Keys(keys), cmp.Compare[int16]) {
		fmt.Fprintf(&b, "| %d %s |", key, name(key))
		columns(func(r release) string {
			if s, ok := r.served[key]; ok {
				return fmt.Sprintf("%d-%d", s.min, s.max)
			}
			return ""
		})
	}
	return b.String()
}

// writeDoubles replaces the section in a file, or adds it.
func writeDoubles(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	all, err := releases()
	if err != nil {
		return err
	}
	before, _, _ := strings.Cut(string(text), "\n"+strings.SplitN(aboutDoubles, "\n", 3)[1])
	return os.WriteFile(file, []byte(before+doubles(all)), 0o644)
}

// checkDoubles fails unless the page has the section as it is now.
func checkDoubles(text string) error {
	all, err := releases()
	if err != nil {
		return err
	}
	if want := doubles(all); !strings.HasSuffix(text, want) {
		return fmt.Errorf("the releases that doubles pass for serve something else than the end of the file says; this it should be:\n%s", want)
	}
	return nil
}

const aboutDoubles = `
## Doubles of older releases

` + "`kafkatest.As`, and `partlogd --control ... --persona`" + `, pass for older releases. A client takes of each API the newest version that it and the
double have. This is the first release of Kafka whose clients have one for all that each of these needs; message formats v0 and v1 are left
out, hence nothing from before 0.11:

`
