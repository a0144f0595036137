package tool

import (
	"bufio"
	"encoding/json"
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"
)

// format prints records as kafka-console-consumer's DefaultMessageFormatter does, or as JSON.
type format struct {
	json  bool
	props pairs
}

// write prints one record and what separates it from the next. The error is the writer's.
func (f *format) write(out *bufio.Writer, r *kgo.Record) error {
	if f.json {
		b, err := json.Marshal(toJSON(r))
		if err != nil {
			panic("BUG: " + err.Error()) // strings and numbers always marshal
		}
		out.Write(b)
		return out.WriteByte('\n')
	}
	value := f.props["print.value"] == "" || f.props.is("print.value")
	columns := []struct {
		shown bool
		print func()
	}{
		{f.props.is("print.timestamp"), func() { out.WriteString(timestampText(r)) }},
		{f.props.is("print.partition"), func() { out.WriteString("Partition:" + strconv.Itoa(int(r.Partition))) }},
		{f.props.is("print.offset"), func() { out.WriteString("Offset:" + strconv.FormatInt(r.Offset, 10)) }},
		{f.props.is("print.epoch"), func() { out.WriteString("Epoch:" + strconv.Itoa(int(r.LeaderEpoch))) }},
		{f.props.is("print.headers"), func() { f.headers(out, r) }},
		{f.props.is("print.key"), func() { f.bytes(out, r.Key) }},
		{value, func() { f.bytes(out, r.Value) }},
	}
	first := true
	for _, c := range columns {
		if !c.shown {
			continue
		}
		if !first {
			out.WriteString(f.props.text("key.separator", "\t"))
		}
		c.print()
		first = false
	}
	if first {
		return nil // nothing is to be printed
	}
	_, err := out.WriteString(f.props.text("line.separator", "\n"))
	return err
}

func (f *format) bytes(out *bufio.Writer, b []byte) {
	if b == nil {
		out.WriteString(f.props.text("null.literal", "null"))
		return
	}
	out.Write(b)
}

func (f *format) headers(out *bufio.Writer, r *kgo.Record) {
	if len(r.Headers) == 0 {
		out.WriteString("NO_HEADERS")
	}
	for i, h := range r.Headers {
		if i > 0 {
			out.WriteString(f.props.text("headers.separator", ","))
		}
		out.WriteString(h.Key + ":")
		f.bytes(out, h.Value)
	}
}

func timestampText(r *kgo.Record) string {
	ms := strconv.FormatInt(r.Timestamp.UnixMilli(), 10)
	switch r.Attrs.TimestampType() {
	case 0:
		return "CreateTime:" + ms
	case 1:
		return "LogAppendTime:" + ms
	}
	return "NO_TIMESTAMP"
}
