package kafkatest

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/wire"
	"github.com/partlog/partlog/partition/partitiontest"
)

// Difference is a field in which an answer differs from the recorded one.
type Difference struct {
	Seq      int64  // of the exchange
	API      string // name and version
	Field    string // as "Topics[0].Partitions[1].ErrorCode"
	Recorded string // its value, "null" and "[]" apart
	Got      string
}

// String is a line for people.
func (d Difference) String() string {
	return fmt.Sprintf("#%d %s %s: recorded %s, got %s", d.Seq, d.API, d.Field, d.Recorded, d.Got)
}

// CompareConfig says how a recording is compared with a broker.
type CompareConfig struct {
	// Dial connects to the broker that is to stand for one of the recording (host:port).
	Dial func(ctx context.Context, broker string) (net.Conn, error)
	// Ignore names fields that are not compared, beside those that say when, how long and where: the last part of
	// Difference.Field without an index, such as "ClusterID", or with what is before it, such as "ApiKeys.MaxVersion".
	Ignore []string
	// Skip names APIs whose requests are not sent, such as "ApiVersions"; those of SASL never are.
	Skip []string
}

// drawn are fields with what a broker draws: they are not compared, and where a later request repeats the value of the recording
// it gets that of the broker.
var drawn = []string{"ProducerID", "MemberID", "LeaderID", "SessionID", "TopicID"}

// passing are fields that are never the same twice, or say where a cluster is.
var passing = []string{"Timestamp", "LogAppendTime", "ThrottleMillis", "Host", "Port", "Rack", "ClusterID", "ErrorMessage", "SessionLifetimeMillis", "UnknownTags", "Version", "StartTimestamp", "LastTimestamp", "MaxTimestamp"}

// Compare sends the requests of a recording to another broker, in their order, and returns where its answers differ. A request
// is sent when those have been answered that were answered before it in the recording, so that what ran at the same time
// does so again. Ids that brokers draw are translated, in batches too. Records in the answer to a fetch are compared by
// offset, key, value and headers; lists in which each element has a name or number of its own by these, in whatever order.
// Requests that the recording has no answer to are sent, and not compared. A connection that is closed where the recording has
// an answer is a difference; an error is what prevents the comparison, as ctx that ends.
func Compare(ctx context.Context, recording []Exchange, c CompareConfig) ([]Difference, error) {
	skip := map[int16]bool{int16(kmsg.SASLHandshake): true, int16(kmsg.SASLAuthenticate): true}
	for _, name := range c.Skip {
		key, ok := APIKey(name)
		if !ok {
			return nil, fmt.Errorf("compare: Kafka has no API %q", name)
		}
		skip[key] = true
	}
	d := &comparison{config: c, links: map[int64]*link{}, ids: map[string]any{}, done: make([]chan struct{}, len(recording))}
	defer d.close()
	for i := range recording {
		d.done[i] = make(chan struct{})
	}
	for i := range recording {
		x := &recording[i]
		m, err := decodeRequest(x.Request)
		if err != nil {
			return nil, fmt.Errorf("compare: request %d: %w", x.Seq, err)
		}
		for j := range i {
			if y := &recording[j]; y.Response != nil && y.At+y.Took <= x.At {
				if err := d.await(ctx, j, y); err != nil {
					return nil, err
				}
			}
		}
		if skip[m.Key] {
			close(d.done[i])
			continue
		}
		d.translate(m.req)
		l, err := d.link(ctx, x)
		if err != nil {
			return nil, fmt.Errorf("compare: %w", err)
		}
		m.Correlation = int32(i)
		answer := l.send(&m)
		if x.Response == nil {
			close(d.done[i])
			continue
		}
		d.running.Go(func() {
			defer close(d.done[i])
			d.compare(x, &m, <-answer)
		})
	}
	for i := range recording {
		if err := d.await(ctx, i, &recording[i]); err != nil {
			return nil, err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	slices.SortStableFunc(d.found, func(a, b Difference) int { return int(a.Seq - b.Seq) })
	return d.found, nil
}

// comparison is one in progress.
type comparison struct {
	config  CompareConfig
	links   map[int64]*link // by the recording's connection
	done    []chan struct{}
	running sync.WaitGroup

	mu    sync.Mutex     // guards all below
	ids   map[string]any // the broker's, by those of the recording
	found []Difference
}

func (d *comparison) await(ctx context.Context, i int, x *Exchange) error {
	select {
	case <-d.done[i]:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("compare: request %d (%s) has no answer: %w", x.Seq, x.Summary, ctx.Err())
	}
}

func (d *comparison) close() {
	for _, l := range d.links {
		l.close()
	}
	d.running.Wait()
}

// link returns the connection that stands for that of an exchange.
func (d *comparison) link(ctx context.Context, x *Exchange) (*link, error) {
	if l := d.links[x.Connection]; l != nil {
		return l, nil
	}
	c, err := d.config.Dial(ctx, x.Broker)
	if err != nil {
		return nil, err
	}
	l := newLink(c)
	d.links[x.Connection] = l
	return l, nil
}

// link is a connection on which several requests may be under way.
type link struct {
	net.Conn
	ended chan struct{}

	mu      sync.Mutex // guards all below
	waiting map[int32]chan []byte
	lost    bool
}

func newLink(c net.Conn) *link {
	l := &link{Conn: c, ended: make(chan struct{}), waiting: map[int32]chan []byte{}}
	go func() {
		defer close(l.ended)
		for {
			frame, err := wire.ReadFrame(c, maxRecorded, nil)
			if err != nil || len(frame) < 4 {
				break
			}
			correlation := int32(binary.BigEndian.Uint32(frame))
			l.mu.Lock()
			if w := l.waiting[correlation]; w != nil {
				w <- frame // has room
				delete(l.waiting, correlation)
			}
			l.mu.Unlock()
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.lost = true
		for _, w := range l.waiting {
			close(w)
		}
		clear(l.waiting)
	}()
	return l
}

// send sends a request. What it returns gets the answer's frame, or is closed if there will be none.
func (l *link) send(m *message) <-chan []byte {
	answer := make(chan []byte, 1)
	l.mu.Lock()
	if l.lost {
		close(answer)
	} else {
		l.waiting[m.Correlation] = answer
	}
	l.mu.Unlock()
	_ = wire.WriteFrame(l.Conn, wire.AppendHeader(nil, m.Header, m.req.IsFlexible()), m.req.AppendTo(nil)) // the reader sees the end
	return answer
}

func (l *link) close() {
	l.Conn.Close()
	<-l.ended
}

// translate puts the broker's ids into a request in place of the recording's.
func (d *comparison) translate(req kmsg.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.replaceLocked(reflect.ValueOf(req).Elem())
	if p, ok := req.(*kmsg.ProduceRequest); ok {
		for i := range p.Topics {
			for j := range p.Topics[i].Partitions {
				d.translateBatch(p.Topics[i].Partitions[j].Records)
			}
		}
	}
}

// translateBatch is translate for the producer of a batch.
func (d *comparison) translateBatch(records []byte) {
	b, err := batch.Peek(records)
	if err != nil || b.ProducerID() < 0 || len(b) != len(records) || b.CheckCRC() != nil {
		return
	}
	id, ok := d.ids[idKey("ProducerID", reflect.ValueOf(b.ProducerID()))]
	if !ok {
		return
	}
	b.SetProducer(id.(int64), b.ProducerEpoch(), b.BaseSequence())
	b.UpdateCRC()
}

// replaceLocked replaces ids in a message.
func (d *comparison) replaceLocked(message reflect.Value) {
	walkFields(message, func(name string, f reflect.Value) {
		if !slices.Contains(drawn, name) {
			return
		}
		if f.Kind() == reflect.Pointer {
			if f.IsNil() {
				return
			}
			if id, ok := d.ids[idKey(name, f.Elem())]; ok {
				p := reflect.New(f.Type().Elem())
				p.Elem().Set(reflect.ValueOf(id))
				f.Set(p)
			}
		} else if id, ok := d.ids[idKey(name, f)]; ok {
			f.Set(reflect.ValueOf(id))
		}
	})
}

func idKey(name string, v reflect.Value) string {
	if name == "LeaderID" {
		name = "MemberID"
	}
	return fmt.Sprint(name, " ", v.Interface())
}

// walkFields calls f with all fields that are no lists of structs.
func walkFields(v reflect.Value, f func(name string, field reflect.Value)) {
	for i := range v.NumField() {
		field := v.Field(i)
		if field.Kind() == reflect.Slice && field.Type().Elem().Kind() == reflect.Struct {
			for j := range field.Len() {
				walkFields(field.Index(j), f)
			}
			continue
		}
		if v.Type().Field(i).IsExported() {
			f(v.Type().Field(i).Name, field)
		}
	}
}

// compare notes how an answer differs. A nil frame is no answer.
func (d *comparison) compare(x *Exchange, m *message, frame []byte) {
	api := fmt.Sprintf("%s v%d", kmsg.NameForKey(m.Key), m.Version)
	note := func(field, recorded, got string) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.found = append(d.found, Difference{x.Seq, api, field, recorded, got})
	}
	if frame == nil {
		note("", "an answer", "the connection closed")
		return
	}
	was, err := m.decodeResponse(x.Response)
	if err != nil {
		note("", "what does not decode: "+err.Error(), "an answer")
		return
	}
	is, err := m.decodeResponse(frame)
	if err != nil {
		note("", "an answer", "what does not decode: "+err.Error())
		return
	}
	d.mu.Lock()
	d.replaceLocked(reflect.ValueOf(was).Elem()) // ids may be what tells the elements of a list apart
	d.mu.Unlock()
	d.values("", "", reflect.ValueOf(was).Elem(), reflect.ValueOf(is).Elem(), note)
}

// names are what tells the elements of a list from each other, of each the first that it has.
var names = []string{"Topic", "TopicID", "Partition", "ApiKey", "NodeID", "Group", "TransactionalID", "Key", "Name", "ResourceName", "InstanceID", "User"}

func nameOf(v reflect.Value) string {
	var b strings.Builder
	for _, name := range names {
		if f := v.FieldByName(name); f.IsValid() {
			if f.Kind() == reflect.Pointer && !f.IsNil() {
				f = f.Elem()
			}
			fmt.Fprintf(&b, "%s=%v ", name, f.Interface())
		}
	}
	return b.String()
}

// sorted returns a list in the order of its elements' names; ids that are drawn make no order.
func sorted(list reflect.Value) reflect.Value {
	elements := make([]reflect.Value, list.Len())
	keys := map[string]bool{}
	for i := range elements {
		elements[i] = list.Index(i)
		keys[nameOf(elements[i])] = true
	}
	if len(keys) < len(elements) {
		return list
	}
	slices.SortStableFunc(elements, func(a, b reflect.Value) int { return strings.Compare(nameOf(a), nameOf(b)) })
	out := reflect.MakeSlice(list.Type(), 0, len(elements))
	return reflect.Append(out, elements...)
}

// values compares two structs of the same type.
func (d *comparison) values(path, parent string, was, is reflect.Value, note func(field, recorded, got string)) {
	for i := range was.NumField() {
		field := was.Type().Field(i)
		a, b := was.Field(i), is.Field(i)
		switch {
		case !field.IsExported() || slices.Contains(passing, field.Name) || slices.Contains(d.config.Ignore, field.Name) || slices.Contains(d.config.Ignore, parent+"."+field.Name):
		case slices.Contains(drawn, field.Name):
			d.learn(field.Name, a, b)
		case field.Name == "RecordBatches":
			if x, y := fetched(a.Bytes()), fetched(b.Bytes()); x != y {
				note(path+field.Name, x, y)
			}
		case a.Kind() == reflect.Slice && a.Type().Elem().Kind() == reflect.Struct:
			if a.IsNil() != b.IsNil() || a.Len() != b.Len() {
				note(path+field.Name, length(a), length(b))
			}
			a, b = sorted(a), sorted(b)
			for j := range min(a.Len(), b.Len()) {
				d.values(fmt.Sprintf("%s%s[%d].", path, field.Name, j), field.Name, a.Index(j), b.Index(j), note)
			}
		default:
			if x, y := shown(a), shown(b); x != y {
				note(path+field.Name, x, y)
			}
		}
	}
}

// learn notes which id of the broker stands for one of the recording.
func (d *comparison) learn(name string, was, is reflect.Value) {
	if was.Kind() == reflect.Pointer {
		if was.IsNil() || is.IsNil() {
			return
		}
		was, is = was.Elem(), is.Elem()
	}
	if none(name, was) || none(name, is) {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ids[idKey(name, was)] = is.Interface()
}

// none reports whether a field holds no id.
func none(name string, v reflect.Value) bool {
	if name == "ProducerID" {
		return v.Int() < 0 // 0 is one
	}
	return v.IsZero()
}

func length(list reflect.Value) string {
	if list.IsNil() {
		return "null"
	}
	return fmt.Sprintf("%d elements", list.Len())
}

// shown writes a value so that null and empty are not the same.
func shown(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return "null"
		}
		return shown(v.Elem())
	case reflect.Slice:
		if v.IsNil() {
			return "null"
		}
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return fmt.Sprintf("%q", v.Bytes())
		}
		return fmt.Sprintf("%v", v.Interface())
	case reflect.String:
		return fmt.Sprintf("%q", v.String())
	}
	return fmt.Sprint(v.Interface())
}

// fetched tells the records of an answer to a fetch, as far as they are whole.
func fetched(chunk []byte) string {
	var out bytes.Buffer
	for len(chunk) > 0 {
		b, err := batch.Peek(chunk)
		if err != nil {
			break // a batch that is cut off
		}
		chunk = chunk[len(b):]
		if b.IsControl() {
			fmt.Fprintf(&out, "%d: control\n", b.BaseOffset())
			continue
		}
		records, err := partitiontest.Records(b)
		if err != nil {
			return err.Error()
		}
		for _, r := range records {
			fmt.Fprintf(&out, "%d: %s %s %q\n", r.Offset, part(r.Key), part(r.Value), r.Headers)
		}
	}
	return out.String()
}
