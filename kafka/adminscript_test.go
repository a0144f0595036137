package kafka

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/partition"
)

// oracle is an Apache Kafka broker at which the scripts are to be run instead, to write down what it answers: go test
// -run Scripts.*ByApacheKafka -kafka 127.0.0.1:PORT -rewrite. It is one node with the properties of scriptProperties, and for
// the other test three.
var oracle = flag.String("kafka", "", "host:port of an Apache Kafka broker that answers the scripts instead")

// scriptProperties are those of the broker that the answers in testdata/admin are of.
var scriptProperties = map[string]string{
	"process.roles": "broker,controller", "node.id": "1", "broker.id": "1",
	"listeners":                  "PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093",
	"inter.broker.listener.name": "PLAINTEXT", "controller.listener.names": "CONTROLLER",
	"listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
	"controller.quorum.voters":       "1@127.0.0.1:9093",
	"log.dirs":                       "DIR",
	"default.replication.factor":     "1", "min.insync.replicas": "1",
	"offsets.topic.num.partitions": "1", "offsets.topic.replication.factor": "1",
	"transaction.state.log.num.partitions": "1", "transaction.state.log.replication.factor": "1", "transaction.state.log.min.isr": "1",
	"share.coordinator.state.topic.replication.factor": "1", "share.coordinator.state.topic.min.isr": "1",
	"group.initial.rebalance.delay.ms": "0", "log.cleaner.dedupe.buffer.size": "2097152",
}

// script performs requests in the versions that it names and prints the answers.
type script struct {
	t        testing.TB
	do       func(req kmsg.Request) (kmsg.Response, error)
	lags     bool                // changes come to the broker later than the answers of its controller
	ids      map[[16]byte]string // topic ids seen, by the name of the topic
	replaced []string            // pairs for strings.NewReplacer: what differs from run to run
}

// TestScriptsOfAdminRequestsAreAnsweredAsByApacheKafka holds the answers of Apache Kafka 4.1.2, field by field, null and
// empty included, against ours. What cannot be equal is not printed: times, ids, sizes, and the order of lists, which is
// that of a hash table there.
func TestScriptsOfAdminRequestsAreAnsweredAsByApacheKafka(t *testing.T) {
	onOneStore(t, "they are the answers of a broker that is alone")
	runScripts(t, "testdata/admin/*.txt", scriptProperties, 1)
}

// The same of three brokers, with default.replication.factor=3 and min.insync.replicas=2, asked at the first.
func TestScriptsOfAdminRequestsToThreeBrokersAreAnsweredAsByApacheKafka(t *testing.T) {
	props := maps.Clone(scriptProperties)
	for _, name := range []string{"node.id", "broker.id", "listeners"} {
		delete(props, name)
	}
	props["default.replication.factor"], props["min.insync.replicas"] = "3", "2"
	runScripts(t, "testdata/admin3/*.txt", props, 3)
}

func runScripts(t *testing.T, pattern string, props map[string]string, brokers int) {
	files, err := filepath.Glob(pattern)
	require.NoError(t, err)
	require.NotEmpty(t, files)
	s := &script{t: t, ids: map[[16]byte]string{}}
	if *oracle != "" {
		s.connect(*oracle)
	} else {
		set, _, err := parseProperties(props)
		require.NoError(t, err)
		c := set.store(partition.SyncNever)
		c.Clock = clock.NewManual(rigStart)
		g := newGround(t, terms{brokers: brokers, store: c, server: Config{Properties: props}})
		for i, b := range g.server.brokers() {
			host, port, _ := b.Addr("")
			s.replaced = append(s.replaced, net.JoinHostPort(host, strconv.Itoa(int(port))), fmt.Sprintf("127.0.0.1:%d", 9092+10*i))
		}
		conn := g.newSession(1, 99, 4711)
		s.do = func(req kmsg.Request) (kmsg.Response, error) { return try(t.Context(), conn, req.GetVersion(), req) }
	}
	for _, f := range files { // one after the other: a script finds what those before it have made
		s.run(t, f)
	}
}

// connect makes a real broker answer.
func (c *script) connect(addr string) {
	host, port, err := net.SplitHostPort(addr)
	require.NoError(c.t, err)
	n, err := strconv.Atoi(port)
	require.NoError(c.t, err)
	c.lags = true
	c.replaced = []string{net.JoinHostPort(host, strconv.Itoa(n+1)), "127.0.0.1:9093", addr, "127.0.0.1:9092"}
	last := int32(0)
	var conn net.Conn
	c.do = func(req kmsg.Request) (_ kmsg.Response, err error) {
		if conn == nil {
			conn, err = net.Dial("tcp", addr)
			require.NoError(c.t, err)
		}
		defer func() {
			if err != nil {
				conn.Close()
				conn = nil
			}
		}()
		last++
		if _, err := conn.Write(kmsg.NewRequestFormatter(kmsg.FormatterClientID("script")).AppendRequest(nil, req, last)); err != nil {
			return nil, err
		}
		var size [4]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return nil, err
		}
		body := make([]byte, binary.BigEndian.Uint32(size[:]))
		if _, err := io.ReadFull(conn, body); err != nil {
			return nil, err
		}
		body = body[4:]
		resp := req.ResponseKind()
		if resp.IsFlexible() && resp.Key() != 18 {
			body = body[1:]
		}
		return resp, resp.ReadFrom(body)
	}
}

// run performs a script: each command is an API with version=N and the request's fields as JSON.
func (c *script) run(t *testing.T, file string) {
	datadriven.RunTest(t, file, func(t *testing.T, d *datadriven.TestData) string {
		if c.lags {
			time.Sleep(time.Second)
		}
		if d.Cmd == "learn" {
			c.learn()
			return ""
		}
		var version int
		d.ScanArgs(t, "version", &version)
		resp, err := c.do(c.build(d.Cmd, int16(version), d.Input))
		if err != nil {
			return "connection closed\n"
		}
		return c.print(resp)
	})
}

// learn asks for the ids of all topics, so that a script can name them.
func (c *script) learn() {
	req := kmsg.NewPtrMetadataRequest()
	req.SetVersion(12)
	resp, err := c.do(req)
	require.NoError(c.t, err)
	for _, topic := range resp.(*kmsg.MetadataResponse).Topics {
		c.ids[topic.TopicID] = *topic.Topic
	}
}

// build makes a request from the JSON of its fields; what is not named has Kafka's default.
func (c *script) build(api string, version int16, input string) kmsg.Request {
	for key := range int16(100) {
		req := kmsg.RequestForKey(key)
		if req == nil || kmsg.Key(key).Name() != api {
			continue
		}
		req.SetVersion(version)
		if d, ok := req.(interface{ Default() }); ok {
			d.Default()
		}
		if input != "" {
			var fields map[string]any
			dec := json.NewDecoder(strings.NewReader(input))
			dec.UseNumber()
			require.NoError(c.t, dec.Decode(&fields), input)
			c.fill(reflect.ValueOf(req).Elem(), fields)
		}
		return req
	}
	c.t.Fatalf("no API %s", api)
	return nil
}

func (c *script) fill(v reflect.Value, x any) {
	if x == nil {
		return
	}
	switch x := x.(type) {
	case map[string]any:
		if v.Kind() == reflect.Pointer {
			v.Set(reflect.New(v.Type().Elem()))
			v = v.Elem()
		}
		if d, ok := v.Addr().Interface().(interface{ Default() }); ok {
			d.Default()
		}
		for name, f := range x {
			field := v.FieldByName(name)
			if !field.IsValid() {
				c.t.Fatalf("%s has no field %s", v.Type(), name)
			}
			c.fill(field, f)
		}
	case []any:
		v.Set(reflect.MakeSlice(v.Type(), len(x), len(x)))
		for i := range x {
			c.fill(v.Index(i), x[i])
		}
	case string:
		switch {
		case v.Type() == reflect.TypeFor[[16]byte]():
			for id, name := range c.ids {
				if "id of "+name == x {
					v.Set(reflect.ValueOf(id))
				}
			}
			if x == "unknown" {
				v.Set(reflect.ValueOf([16]byte{1, 2, 3}))
			}
		case v.Kind() == reflect.Pointer:
			v.Set(reflect.ValueOf(&x))
		case v.Kind() == reflect.Slice:
			v.SetBytes([]byte(x))
		default:
			v.SetString(x)
		}
	case bool:
		v.SetBool(x)
	case json.Number:
		n, err := x.Int64()
		require.NoError(c.t, err)
		v.SetInt(n)
	default:
		c.t.Fatalf("%T in a script", x)
	}
}

// print writes an answer: its fields in the order of the protocol, an element of a list to a line.
func (c *script) print(resp kmsg.Response) string {
	var b bytes.Buffer
	c.printFields(&b, reflect.ValueOf(resp).Elem(), "")
	return strings.NewReplacer(c.replaced...).Replace(b.String())
}

var unprinted = []string{"Version", "UnknownTags", "ThrottleMillis", "ClusterID"}

// varying are fields whose values are another broker's or another day's.
var varying = []string{"TotalBytes", "UsableBytes", "Size", "HighWatermark", "LogEndOffset", "Port", "Dir", "ControllerID", "FinalizedFeaturesEpoch"}

func (c *script) printFields(b *bytes.Buffer, v reflect.Value, indent string) {
	for i := range v.NumField() {
		name, f := v.Type().Field(i).Name, v.Field(i)
		switch {
		case slices.Contains(unprinted, name):
		case f.Kind() == reflect.Slice && f.Type().Elem().Kind() == reflect.Struct:
			if f.IsNil() {
				fmt.Fprintf(b, "%s%s none\n", indent, name)
				continue
			}
			fmt.Fprintf(b, "%s%s %d:\n", indent, name, f.Len())
			items := make([]string, f.Len())
			for j := range items {
				var one bytes.Buffer
				c.printElement(&one, f.Index(j), indent+"  ")
				items[j] = one.String()
			}
			if name != "ConfigSynonyms" { // whose order says which counts
				slices.Sort(items)
			}
			b.WriteString(strings.Join(items, ""))
		case f.Kind() == reflect.Struct:
			fmt.Fprintf(b, "%s%s :\n", indent, name)
			c.printFields(b, f, indent+"  ")
		case f.Kind() == reflect.Pointer && f.Type().Elem().Kind() == reflect.Struct && !f.IsNil():
			fmt.Fprintf(b, "%s%s :\n", indent, name)
			c.printFields(b, f.Elem(), indent+"  ")
		case strings.HasSuffix(name, "Timestamp") && f.Kind() == reflect.Int64 && f.Int() > 1:
			fmt.Fprintf(b, "%s%s TIME\n", indent, name)
		case name == "ISR": // in the order in which they came
			fmt.Fprintf(b, "%sISR %v\n", indent, slices.Sorted(slices.Values(f.Interface().([]int32))))
		case slices.Contains(varying, name):
			fmt.Fprintf(b, "%s%s SOME\n", indent, name)
		default:
			fmt.Fprintf(b, "%s%s %s\n", indent, name, c.scalar(f))
		}
	}
}

// printElement writes an element of a list: its scalars on one line, lists below.
func (c *script) printElement(b *bytes.Buffer, v reflect.Value, indent string) {
	var line, below bytes.Buffer
	c.printFields(&below, v, indent+"  ")
	lead := indent + "  "
	var rest []string
	for l := range strings.SplitSeq(strings.TrimSuffix(below.String(), "\n"), "\n") {
		if own, ok := strings.CutPrefix(l, lead); ok && !strings.HasPrefix(own, " ") && !strings.HasSuffix(own, ":") {
			line.WriteString(" " + own)
			continue
		}
		rest = append(rest, l)
	}
	fmt.Fprintf(b, "%s-%s\n", indent, line.String())
	for _, l := range rest {
		fmt.Fprintln(b, l)
	}
}

func (c *script) scalar(f reflect.Value) string {
	switch {
	case f.Kind() == reflect.Pointer && f.IsNil():
		return "null"
	case f.Kind() == reflect.Pointer:
		return c.scalar(f.Elem())
	case f.Kind() == reflect.String:
		return strconv.Quote(f.String())
	case f.Type() == reflect.TypeFor[[16]byte]():
		id := f.Interface().([16]byte)
		switch {
		case id == [16]byte{}:
			return "zero"
		case id == [16]byte{1, 2, 3}:
			return "unknown"
		case c.ids[id] != "":
			return "id of " + c.ids[id]
		}
		return "some id"
	case f.Kind() == reflect.Slice && f.IsNil():
		return "none"
	}
	return fmt.Sprint(f.Interface())
}
