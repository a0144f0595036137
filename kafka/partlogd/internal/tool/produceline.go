package tool

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"
)

// lineReader makes records of lines, by the properties of kafka-console-producer's reader.
type lineReader struct {
	topic string
	json  bool
	props pairs
}

// record reads one line. nil is a line that is left out.
func (l *lineReader) record(line string) (*kgo.Record, error) {
	if l.json {
		if strings.TrimSpace(line) == "" {
			return nil, nil
		}
		return l.jsonRecord(line)
	}
	r := &kgo.Record{Topic: l.topic, Partition: -1}
	lenient := l.props.is("ignore.error")
	rest := line
	if l.props.is("parse.headers") {
		delimiter := l.props.text("headers.delimiter", "\t")
		headers, after, ok := strings.Cut(rest, delimiter)
		switch {
		case !ok && !lenient:
			return nil, fmt.Errorf("no headers delimiter %q found in the line", delimiter)
		case ok:
			if err := l.headers(r, headers); err != nil {
				return nil, err
			}
			rest = after
		}
	}
	if l.props.is("parse.key") {
		separator := l.props.text("key.separator", "\t")
		key, after, ok := strings.Cut(rest, separator)
		switch {
		case !ok && !lenient:
			return nil, fmt.Errorf("no key separator %q found in the line", separator)
		case ok:
			r.Key, rest = l.bytes(key), after
		}
	}
	r.Value = l.bytes(rest)
	return r, nil
}

// bytes are those of a text, or null for the null marker.
func (l *lineReader) bytes(s string) []byte {
	if marker, ok := l.props["null.marker"]; ok && s == marker {
		return nil
	}
	return []byte(s)
}

func (l *lineReader) headers(r *kgo.Record, text string) error {
	if marker, ok := l.props["null.marker"]; ok && text == marker || text == "" {
		return nil
	}
	separator := l.props.text("headers.key.separator", ":")
	for item := range strings.SplitSeq(text, l.props.text("headers.separator", ",")) {
		key, value, ok := strings.Cut(item, separator)
		if !ok {
			return fmt.Errorf("no header key separator %q found in header %q", separator, item)
		}
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: key, Value: l.bytes(value)})
	}
	return nil
}

// jsonRecord is a record as consume --json prints it and produce --json reads it. Bytes that are no UTF-8 are in the fields
// that end in Base64.
type jsonRecord struct {
	Topic       string       `json:"topic,omitempty"`
	Partition   *int32       `json:"partition,omitempty"`
	Offset      *int64       `json:"offset,omitempty"`
	Timestamp   *int64       `json:"timestamp,omitempty"` // milliseconds since 1970
	Key         *string      `json:"key"`
	KeyBase64   *string      `json:"keyBase64,omitempty"`
	Value       *string      `json:"value"`
	ValueBase64 *string      `json:"valueBase64,omitempty"`
	Headers     []jsonHeader `json:"headers,omitempty"`
}

type jsonHeader struct {
	Key         string  `json:"key"`
	Value       *string `json:"value"`
	ValueBase64 *string `json:"valueBase64,omitempty"`
}

// jsonBytes divides bytes into a text, or base64, or neither for null.
func jsonBytes(b []byte) (plain, encoded *string) {
	switch {
	case b == nil:
		return nil, nil
	case utf8.Valid(b):
		s := string(b)
		return &s, nil
	}
	s := base64.StdEncoding.EncodeToString(b)
	return nil, &s
}

func bytesOfJSON(plain, encoded *string) ([]byte, error) {
	if encoded != nil {
		return base64.StdEncoding.DecodeString(*encoded)
	}
	if plain != nil {
		return []byte(*plain), nil
	}
	return nil, nil
}

func toJSON(r *kgo.Record) jsonRecord {
	ms := r.Timestamp.UnixMilli()
	j := jsonRecord{Topic: r.Topic, Partition: &r.Partition, Offset: &r.Offset, Timestamp: &ms}
	j.Key, j.KeyBase64 = jsonBytes(r.Key)
	j.Value, j.ValueBase64 = jsonBytes(r.Value)
	for _, h := range r.Headers {
		out := jsonHeader{Key: h.Key}
		out.Value, out.ValueBase64 = jsonBytes(h.Value)
		j.Headers = append(j.Headers, out)
	}
	return j
}

// jsonRecord reads a line of JSON. The topic in it is not that of the record: --topic is.
func (l *lineReader) jsonRecord(line string) (*kgo.Record, error) {
	var j jsonRecord
	if err := json.Unmarshal([]byte(line), &j); err != nil {
		return nil, fmt.Errorf("want an object such as {\"key\":\"k\",\"value\":\"v\"}: %w", err)
	}
	key, err := bytesOfJSON(j.Key, j.KeyBase64)
	value, err2 := bytesOfJSON(j.Value, j.ValueBase64)
	r := &kgo.Record{Topic: l.topic, Partition: -1, Key: key, Value: value}
	if j.Partition != nil {
		r.Partition = *j.Partition
	}
	if j.Timestamp != nil {
		r.Timestamp = time.UnixMilli(*j.Timestamp)
	}
	for _, h := range j.Headers {
		v, herr := bytesOfJSON(h.Value, h.ValueBase64)
		err = errors.Join(err, herr)
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Key, Value: v})
	}
	return r, errors.Join(err, err2)
}
