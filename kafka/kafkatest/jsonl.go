package kafkatest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"unicode/utf8"

	"github.com/partlog/partlog/partition"
)

// jsonRecord is a line of a file of records. Text is in key and value; bytes that are no text are in keyBase64 and valueBase64. A
// field that is missing, or null, is null in Kafka.
type jsonRecord struct {
	Partition   int32        `json:"partition"`
	Offset      *int64       `json:"offset,omitempty"`
	Timestamp   int64        `json:"timestamp,omitempty"`
	Key         *string      `json:"key,omitempty"`
	KeyBase64   []byte       `json:"keyBase64,omitempty"`
	Value       *jsonText    `json:"value,omitempty"`
	ValueBase64 []byte       `json:"valueBase64,omitempty"`
	Headers     []jsonHeader `json:"headers,omitempty"`
}

type jsonHeader struct {
	Key         string  `json:"key"`
	Value       *string `json:"value,omitempty"`
	ValueBase64 []byte  `json:"valueBase64,omitempty"`
}

// jsonText is a text, or any other JSON, which then is the text itself.
type jsonText string

func (t *jsonText) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		return json.Unmarshal(b, (*string)(t))
	}
	*t = jsonText(b)
	return nil
}

// LoadJSON appends records to a topic from lines of JSON, and returns how many. The topic is made if it is not there, with
// as many partitions as the lines name. A line is as DumpJSON writes it; a value that is a JSON object, list or number is
// the value's text:
//
//	{"partition":0,"key":"customer-42","value":"paid","timestamp":1700000000000,"headers":[{"key":"source","value":"shop"}]}
//	{"key":"customer-42","value":{"cents":1999}}
//	{"keyBase64":"AAE=","valueBase64":"/w=="}
//
// Offsets in the lines are not looked at, the order is kept. Errors name the line; what came before it has been appended.
func (c *Cluster) LoadJSON(ctx context.Context, topic string, lines io.Reader) (n int, err error) {
	var pending []jsonRecord
	partitions := int32(1)
	in := bufio.NewReader(lines)
	for line := 1; ; line++ {
		text, readErr := in.ReadBytes('\n')
		if len(text) > 1 || len(text) == 1 && text[0] != '\n' {
			var r jsonRecord
			if err := json.Unmarshal(text, &r); err != nil {
				return n, fmt.Errorf("line %d: %w", line, err)
			}
			if r.Partition < 0 {
				return n, fmt.Errorf("line %d: partition %d", line, r.Partition)
			}
			partitions = max(partitions, r.Partition+1)
			pending = append(pending, r)
		}
		if readErr != nil {
			if !errors.Is(readErr, io.EOF) {
				return n, readErr
			}
			break
		}
	}
	_, err = c.Store().CreateTopic(ctx, topic, partition.TopicConfig{Partitions: partitions})
	if err != nil && !errors.Is(err, partition.ErrTopicAlreadyExists) {
		return 0, err
	}
	byPartition := map[int32][]Record{}
	var order []int32
	for _, r := range pending {
		if byPartition[r.Partition] == nil {
			order = append(order, r.Partition)
		}
		byPartition[r.Partition] = append(byPartition[r.Partition], r.record())
	}
	for _, p := range order {
		for records := byPartition[p]; len(records) > 0; {
			k := batchOf(records)
			if _, err := c.Produce(ctx, topic, p, records[:k]...); err != nil {
				return n, fmt.Errorf("partition %d: %w", p, err)
			}
			n += k
			records = records[k:]
		}
	}
	return n, nil
}

// batchOf returns how many of the records go into one batch.
func batchOf(records []Record) int {
	size := 0
	for i := range records {
		if size += len(records[i].Key) + len(records[i].Value) + 64; size > 512<<10 && i > 0 {
			return i
		}
	}
	return len(records)
}

func (r *jsonRecord) record() Record {
	out := Record{Timestamp: r.Timestamp, Key: r.KeyBase64, Value: r.ValueBase64}
	if r.Key != nil {
		out.Key = []byte(*r.Key)
	}
	if r.Value != nil {
		out.Value = []byte(*r.Value)
	}
	for _, h := range r.Headers {
		x := Header{Key: h.Key, Value: h.ValueBase64}
		if h.Value != nil {
			x.Value = []byte(*h.Value)
		}
		out.Headers = append(out.Headers, x)
	}
	return out
}

// LoadFile is LoadJSON from a file.
func (c *Cluster) LoadFile(ctx context.Context, topic, path string) (int, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	n, err := c.LoadJSON(ctx, topic, f)
	if err != nil {
		err = fmt.Errorf("load %s: %w", path, err)
	}
	return n, err
}

// DumpJSON writes all records of a topic, a line each, one partition after the other: what LoadJSON reads. Errors: those of
// Records, and of w.
func (c *Cluster) DumpJSON(topic string, w io.Writer) error {
	t, err := c.Store().Topic(topic)
	if err != nil {
		return err
	}
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	for p := range t.Partitions() {
		records, err := c.Records(topic, p)
		if err != nil {
			return err
		}
		for i := range records {
			if err := out.Encode(toJSON(p, &records[i])); err != nil {
				return err
			}
		}
	}
	return nil
}

func toJSON(p int32, r *Record) jsonRecord {
	offset := int64(r.Offset)
	j := jsonRecord{Partition: p, Offset: &offset, Timestamp: r.Timestamp}
	j.Key, j.KeyBase64 = asText(r.Key)
	var value *string
	if value, j.ValueBase64 = asText(r.Value); value != nil {
		j.Value = (*jsonText)(value)
	}
	for _, h := range r.Headers {
		x := jsonHeader{Key: h.Key}
		x.Value, x.ValueBase64 = asText(h.Value)
		j.Headers = append(j.Headers, x)
	}
	return j
}

// asText tells text from bytes and null.
func asText(b []byte) (text *string, raw []byte) {
	if b == nil {
		return nil, nil
	}
	if !utf8.Valid(b) {
		return nil, b
	}
	s := string(b)
	return &s, nil
}
