// Command table writes down, and checks, which requests the clients of the smoke tests have sent.
//
//	table -write kafka/COMPATIBILITY.md DIR   writes the file from DIR/CLIENT/seen.tsv
//	table -doubles kafka/COMPATIBILITY.md     writes its section about older releases anew, for which nothing has to run
//	table -check kafka/COMPATIBILITY.md DIR   fails if an API of the file was sent by no client any more, or is not served
//
// Versions come and go with the clients' releases, and a few requests depend on timing: so neither a version nor a cell is
// held against anybody, only a row. What the doubles of older releases serve is held against the file as it is. Clients that did not run (a package manager is absent) prove nothing.
package main

import (
	"bufio"
	"cmp"
	"context"
	"flag"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/kafka"
	"github.com/partlog/partlog/partition"
)

// clients are the columns, in this order.
var clients = []string{"franz-go", "sarama", "kafka-go", "confluent-kafka", "kafka-python", "aiokafka", "kafkajs", "kcat", "java", "java-tools"}

// seen is who sent what: by client and API key, the versions.
type seen map[string]map[int16][]int16

func main() {
	write := flag.String("write", "", "the file to write")
	check := flag.String("check", "", "the file to check")
	again := flag.String("doubles", "", "the file whose section about older releases is to be written")
	flag.Parse()
	if *again != "" {
		if err := writeDoubles(*again); err != nil {
			fmt.Fprintln(os.Stderr, "table:", err)
			os.Exit(1)
		}
		return
	}
	if err := run(*write, *check, flag.Arg(0)); err != nil {
		fmt.Fprintln(os.Stderr, "table:", err)
		os.Exit(1)
	}
}

func run(write, check, dir string) error {
	now, err := read(dir)
	if err != nil {
		return err
	}
	served, err := ask()
	if err != nil {
		return err
	}
	if write != "" {
		all, err := releases()
		if err != nil {
			return err
		}
		return os.WriteFile(write, []byte(page(now, served)+doubles(all)), 0o644)
	}
	then, err := os.ReadFile(check)
	if err != nil {
		return err
	}
	if err := checkDoubles(string(then)); err != nil {
		return err
	}
	return compare(parse(string(then)), now, served)
}

func read(dir string) (seen, error) {
	all := seen{}
	for _, c := range clients {
		f, err := os.Open(filepath.Join(dir, c, "seen.tsv"))
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all[c] = map[int16][]int16{}
		for s := bufio.NewScanner(f); s.Scan(); {
			var key, version int16
			var asked, answered int
			if _, err := fmt.Sscanf(s.Text(), "%d\t%d\t%d\t%d", &key, &version, &asked, &answered); err != nil {
				return nil, fmt.Errorf("%s: %w", f.Name(), err)
			}
			if answered > 0 {
				all[c][key] = append(all[c][key], version)
			}
		}
		f.Close()
	}
	return all, nil
}

type span struct{ min, max int16 }

// ask asks a server of this checkout what it serves.
func ask() (map[int16]span, error) {
	store, err := partition.OpenMemory(partition.Config{})
	if err != nil {
		return nil, err
	}
	defer store.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	server, err := kafka.Serve(l, store, kafka.Config{})
	if err != nil {
		return nil, err
	}
	defer server.Close()
	c, err := kgo.NewClient(kgo.SeedBrokers(l.Addr().String()))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	resp, err := kmsg.NewPtrApiVersionsRequest().RequestWith(context.Background(), c)
	if err != nil {
		return nil, err
	}
	served := map[int16]span{}
	for _, k := range resp.ApiKeys {
		served[k.ApiKey] = span{k.MinVersion, k.MaxVersion}
	}
	return served, nil
}

func name(key int16) string { return kmsg.NameForKey(key) }

// ranges prints versions as 0-3, 5.
func ranges(vs []int16) string {
	slices.Sort(vs)
	var parts []string
	for i := 0; i < len(vs); {
		j := i
		for j+1 < len(vs) && vs[j+1] == vs[j]+1 {
			j++
		}
		if i == j {
			parts = append(parts, fmt.Sprint(vs[i]))
		} else {
			parts = append(parts, fmt.Sprintf("%d-%d", vs[i], vs[j]))
		}
		i = j + 1
	}
	return strings.Join(parts, ", ")
}

func page(now seen, served map[int16]span) string {
	var b strings.Builder
	b.WriteString(head)
	for _, c := range clients {
		if now[c] != nil {
			fmt.Fprintf(&b, "- **%s**: %s\n", c, about(c))
		}
	}
	b.WriteString(between)
	var columns []string
	for _, c := range clients {
		if now[c] != nil {
			columns = append(columns, c)
		}
	}
	fmt.Fprintf(&b, "| key | API | served | %s |\n|---|---|---|%s\n", strings.Join(columns, " | "), strings.Repeat("---|", len(columns)))
	for _, key := range slices.SortedFunc(maps.Keys(served), func(a, b int16) int { return cmp.Compare(a, b) }) {
		fmt.Fprintf(&b, "| %d | %s | %d-%d |", key, name(key), served[key].min, served[key].max)
		for _, c := range columns {
			fmt.Fprintf(&b, " %s |", ranges(now[c][key]))
		}
		b.WriteString("\n")
	}
	return b.String()
}

// parse reads a page back: which clients sent each API, and what was served.
func parse(text string) map[int16][]string {
	rows := map[int16][]string{}
	var columns []string
	for line := range strings.Lines(text) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if cells[0] == "key" {
			columns = cells
			continue
		}
		key, err := strconv.ParseInt(cells[0], 10, 16)
		if err != nil || columns == nil {
			continue
		}
		rows[int16(key)] = nil
		for i := 3; i < min(len(cells), len(columns)); i++ {
			if cells[i] != "" {
				rows[int16(key)] = append(rows[int16(key)], columns[i])
			}
		}
	}
	return rows
}

func compare(then map[int16][]string, now seen, served map[int16]span) error {
	var lost []string
	if len(then) == 0 {
		return fmt.Errorf("there is no table in the file")
	}
	for key, by := range then {
		if _, ok := served[key]; !ok {
			lost = append(lost, name(key)+" is not served any more")
			continue
		}
		ran, sent := 0, 0
		for _, c := range by {
			if now[c] != nil {
				ran++
				if len(now[c][key]) > 0 {
					sent++
				}
			}
		}
		if ran > 0 && sent == 0 {
			lost = append(lost, fmt.Sprintf("%s was sent by %s, and is by none of them now", name(key), strings.Join(by, ", ")))
		}
	}
	for key := range served {
		if _, ok := then[key]; !ok {
			lost = append(lost, name(key)+" is served, and has no row")
		}
	}
	slices.Sort(lost)
	if len(lost) > 0 {
		return fmt.Errorf("the table of clients is not what it was:\n  %s", strings.Join(lost, "\n  "))
	}
	fmt.Printf("%d clients sent what the table says, of %d APIs\n", len(now), len(served))
	return nil
}

// about says which version of a client it is.
func about(c string) string {
	find := func(file, pattern string) string {
		text, _ := os.ReadFile(filepath.Join(".ci", file))
		if m := regexp.MustCompile(pattern).FindSubmatch(text); m != nil {
			return string(m[1])
		}
		return "?"
	}
	switch c {
	case "franz-go":
		return find("clients/go.mod", `twmb/franz-go v(\S+)`) + ", with kadm"
	case "sarama":
		return find("clients/go.mod", `IBM/sarama v(\S+)`) + ", as of Kafka 1.0, 2.8 and its newest"
	case "kafka-go":
		return find("clients/go.mod", `segmentio/kafka-go v(\S+)`) + ", Writer, Reader, Conn and Client"
	case "confluent-kafka":
		return find("clients/python/requirements.txt", `confluent-kafka==(\S+)`) + " for Python, with its librdkafka; both group protocols"
	case "kafka-python", "aiokafka":
		return find("clients/python/requirements.txt", c+`==(\S+)`)
	case "kafkajs":
		return find("clients/node/package.json", `"kafkajs": "(\S+)"`)
	case "kcat":
		return "as in Debian 12, with librdkafka 2.0.2"
	case "java":
		return "producer, consumer and admin client of Apache Kafka " + find("kafka/pom.xml", `kafka-tools</artifactId><version>([0-9.]+)</version>`) + ", both group protocols"
	}
	return "the console tools of Apache Kafka " + find("kafka/pom.xml", `kafka-tools</artifactId><version>([0-9.]+)</version>`)
}
