package main

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"sort"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/internal/batch"
)

// difference is a field that is not the same in two answers.
type difference struct {
	path           string // "Metadata.Topics.ErrorCode": without the places in lists
	kafka, partlog string
}

// differences compares two answers; ids, times and what else is each broker's own are made the same first.
func differences(r *run, k, p kmsg.Response) []difference {
	if k == nil || p == nil {
		if k == nil && p == nil {
			return nil
		}
		return []difference{{"connection", text(k), text(p)}}
	}
	name := kmsg.NameForKey(k.Key())
	c := comparison{r: r, unordered: !slices.Contains(ordered, name) || persona != nil && name == "OffsetCommit"}
	c.walk(name, reflect.ValueOf(k).Elem(), reflect.ValueOf(p).Elem())
	return c.found
}

// ordered are the answers whose lists are in the request's order at Kafka too, so that their order counts. OffsetCommit's were not
// before 4.0.
var ordered = []string{"OffsetCommit", "FindCoordinator", "DescribeGroups"}

// own are fields whose values are each broker's own. That there is one, or none, is compared.
var own = regexp.MustCompile(`\.(Port|ProducerID|ThrottleMillis|ClusterID|ControllerID|LastTimestamp|StartTimestamp|LogAppendTime|SessionID|` +
	`FinalizedFeaturesEpoch|TotalBytes|UsableBytes|Dir|Size)$|^DescribeQuorum\..*\.(LeaderEpoch|HighWatermark|LogEndOffset|LastFetchTimestamp|LastCaughtUpTimestamp|ReplicaDirectoryID)$`)

var uuid = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)

// began is before any time that a broker takes from its clock; records have times long before it.
const began = 1_700_000_000_000

// plain is what there is to compare of bytes: of the markers in a log not their times, of the messages of SCRAM not what is
// random in them.
func plain(path string, b []byte) string {
	switch path {
	case "Fetch.Topics.Partitions.RecordBatches":
		b = slices.Clone(b)
		for at := 0; len(b)-at >= batch.HeaderSize; {
			one := batch.Batch(b[at:])
			size := one.Length()
			if one.IsControl() {
				clear(b[at+17 : at+21]) // the checksum
				clear(b[at+27 : at+43]) // the times
			}
			at += size
		}
	case "SASLAuthenticate.SASLAuthBytes", "token":
		return scramRandom.ReplaceAllString(string(b), "$1=X")
	}
	return fmt.Sprintf("%x", b)
}

var scramRandom = regexp.MustCompile(`\b([rsv])=[^,]*`)

type comparison struct {
	r         *run
	unordered bool
	found     []difference
}

func (c *comparison) differ(path string, k, p any) {
	c.found = append(c.found, difference{path, fmt.Sprint(k), fmt.Sprint(p)})
}

func (c *comparison) walk(path string, k, p reflect.Value) {
	if k.Type() == reflect.TypeFor[[16]byte]() {
		a, b := c.r.kafka.named(k.Interface().([16]byte)), c.r.partlog.named(p.Interface().([16]byte))
		if a != b {
			c.differ(path, a, b)
		}
		return
	}
	switch k.Kind() {
	case reflect.Struct:
		if k.Type() == reflect.TypeFor[kmsg.Tags]() {
			return
		}
		for i := range k.NumField() {
			if f := k.Type().Field(i); f.IsExported() && f.Name != "Version" {
				c.walk(path+"."+f.Name, k.Field(i), p.Field(i))
			}
		}
	case reflect.Pointer:
		if k.IsNil() || p.IsNil() {
			if k.IsNil() != p.IsNil() {
				c.differ(path, shown(k), shown(p))
			}
			return
		}
		c.walk(path, k.Elem(), p.Elem())
	case reflect.Slice:
		c.list(path, k, p)
	case reflect.String:
		a, b := uuid.ReplaceAllString(k.String(), "ID"), uuid.ReplaceAllString(p.String(), "ID")
		if a != b && !own.MatchString(path) {
			c.differ(path, a, b)
		}
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		a, b := k.Int(), p.Int()
		if strings.HasSuffix(path, "Timestamp") && min(a, b) > began {
			return
		}
		if own.MatchString(path) {
			a, b = sign(a), sign(b)
			if strings.HasSuffix(path, "ThrottleMillis") {
				return
			}
		}
		if a != b {
			c.differ(path, a, b)
		}
	default:
		if !reflect.DeepEqual(k.Interface(), p.Interface()) {
			c.differ(path, k.Interface(), p.Interface())
		}
	}
}

// sign keeps what is no value from what is one: ids and times begin at 0 here and there.
func sign(n int64) int64 {
	if n < 0 {
		return n
	}
	return 0
}

func shown(v reflect.Value) string {
	switch {
	case v.IsNil():
		return "null"
	case v.Kind() == reflect.Pointer:
		return fmt.Sprintf("%+v", v.Elem().Interface())
	}
	return fmt.Sprintf("%+v", v.Interface())
}

func (c *comparison) list(path string, k, p reflect.Value) {
	if k.IsNil() != p.IsNil() {
		c.differ(path, shown(k), shown(p))
		return
	}
	if k.Type().Elem().Kind() == reflect.Uint8 {
		if a, b := plain(path, k.Bytes()), plain(path, p.Bytes()); a != b {
			c.differ(path, a, b)
		}
		return
	}
	a, b := c.elements(path, k, c.r.kafka), c.elements(path, p, c.r.partlog)
	if len(a) != len(b) && c.unordered {
		a, b = c.common(path, a, b)
	}
	if len(a) != len(b) {
		c.differ(path+".length", fmt.Sprint(len(a), " ", names(a)), fmt.Sprint(len(b), " ", names(b)))
		return
	}
	for i := range a {
		c.walk(path, a[i].value, b[i].value)
	}
}

// common returns the elements that both have, if their names tell them apart; the others are differences of their own.
func (c *comparison) common(path string, a, b []element) (both, same []element) {
	if !distinctNames(a) || !distinctNames(b) {
		return a, b
	}
	only := func(a, b []element, there, here string) (in []element) {
		for _, e := range a {
			if slices.ContainsFunc(b, func(x element) bool { return x.name == e.name }) {
				in = append(in, e)
			} else {
				c.differ(path+"["+e.name+"]", there, here)
			}
		}
		return in
	}
	return only(a, b, "there", "missing"), only(b, a, "missing", "there")
}

// notYet says whether an answer is that nothing of the request has been done, as the broker is busy with what came before.
func notYet(r kmsg.Response) bool {
	if r == nil {
		return false
	}
	busy := false
	var done func(v reflect.Value) bool // something
	done = func(v reflect.Value) bool {
		for i := range v.NumField() {
			switch f := v.Field(i); {
			case v.Type().Field(i).Name == "ErrorCode":
				busy = busy || slices.Contains([]int64{coordinatorLoadInProgress, coordinatorNotAvailable, concurrentTransactions}, f.Int())
				if f.Int() == 0 {
					return true
				}
			case f.Kind() == reflect.Slice && f.Type().Elem().Kind() == reflect.Struct:
				for j := range f.Len() {
					if done(f.Index(j)) {
						return true
					}
				}
			}
		}
		return false
	}
	return !done(reflect.ValueOf(r).Elem()) && busy
}

const (
	coordinatorLoadInProgress = 14
	coordinatorNotAvailable   = 15
	concurrentTransactions    = 51
)

func distinctNames(all []element) bool {
	seen := map[string]bool{}
	for _, e := range all {
		if seen[e.name] {
			return false
		}
		seen[e.name] = true
	}
	return true
}

type element struct {
	name  string
	value reflect.Value
}

func names(e []element) (names []string) {
	for _, one := range e {
		names = append(names, one.name)
	}
	return names
}

// elements returns those of a list, by name where the order is Kafka's hash map's.
func (c *comparison) elements(path string, list reflect.Value, s *side) []element {
	var all []element
	for i := range list.Len() {
		e := element{identity(list.Index(i), s), list.Index(i)}
		if !strings.HasPrefix(e.name, "barrier-") {
			all = append(all, e)
		}
	}
	if c.unordered && !strings.HasSuffix(path, "ConfigSynonyms") || strings.HasSuffix(path, "UnknownTags") {
		sort.SliceStable(all, func(i, j int) bool { return all[i].name < all[j].name })
	}
	return joined(all)
}

// identity is what an element is called.
func identity(v reflect.Value, s *side) string {
	if v.Kind() != reflect.Struct {
		return fmt.Sprint(v.Interface())
	}
	var parts []string
	for i := range v.NumField() {
		f := v.Field(i)
		switch {
		case v.Type() == reflect.TypeFor[kmsg.DescribeProducersResponseTopicPartitionActiveProducer]() && v.Type().Field(i).Name == "ProducerID":
			parts = append(parts, fmt.Sprintf("%020d", f.Int())) // of markers: chosen by this program
		case v.Type().Field(i).Name == "ErrorMessage", v.Type().Field(i).Name == "MemberID":
		case f.Type() == reflect.TypeFor[[16]byte]():
			parts = append(parts, s.named(f.Interface().([16]byte)))
		case f.Kind() == reflect.String:
			parts = append(parts, f.String())
		case f.Kind() == reflect.Pointer && f.Type().Elem().Kind() == reflect.String && !f.IsNil():
			parts = append(parts, f.Elem().String())
		case f.Kind() == reflect.Int8 && strings.HasSuffix(v.Type().Field(i).Name, "Type"), v.Type().Field(i).Name == "Partition", v.Type().Field(i).Name == "ApiKey",
			f.Kind() == reflect.Int8 && v.Type().Field(i).Name == "Mechanism":
			parts = append(parts, fmt.Sprint(f.Int()))
		case f.Kind() == reflect.Slice && f.Type().Elem().Kind() == reflect.Struct && v.Type().Field(i).Name == "Entity":
			var of []string
			for j := range f.Len() {
				of = append(of, identity(f.Index(j), s))
			}
			slices.Sort(of)
			parts = append(parts, of...)
		}
	}
	return strings.Join(parts, "/")
}

// joined puts the partitions of a topic together: Kafka begins a topic again where another came between.
func joined(all []element) (topics []element) {
	for _, e := range all {
		if n := len(topics); n > 0 && topics[n-1].name == e.name && e.value.Kind() == reflect.Struct && e.value.FieldByName("Partitions").IsValid() {
			both := reflect.New(e.value.Type()).Elem()
			both.Set(topics[n-1].value)
			partitions := both.FieldByName("Partitions")
			partitions.Set(reflect.AppendSlice(partitions.Slice3(0, partitions.Len(), partitions.Len()), e.value.FieldByName("Partitions")))
			topics[n-1].value = both
			continue
		}
		topics = append(topics, e)
	}
	return topics
}
