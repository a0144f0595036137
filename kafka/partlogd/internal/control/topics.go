package control

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"unicode/utf8"

	"github.com/partlog/partlog/kafka"
	"github.com/partlog/partlog/kafka/kafkatest"
	"github.com/partlog/partlog/partition"
)

// record is a record as JSON: as partlogd consume --json prints it. Bytes that are no UTF-8 are in Base64.
type record struct {
	Offset      *int64   `json:"offset,omitempty"`
	Timestamp   int64    `json:"timestamp,omitempty"` // milliseconds since 1970
	Key         *string  `json:"key"`
	KeyBase64   *string  `json:"keyBase64,omitempty"`
	Value       *string  `json:"value"`
	ValueBase64 *string  `json:"valueBase64,omitempty"`
	Headers     []header `json:"headers,omitempty"`
}

type header struct {
	Key         string  `json:"key"`
	Value       *string `json:"value"`
	ValueBase64 *string `json:"valueBase64,omitempty"`
}

func textOf(b []byte) (plain, encoded *string) {
	if b == nil {
		return nil, nil
	}
	s := string(b)
	if utf8.Valid(b) {
		return &s, nil
	}
	s = base64.StdEncoding.EncodeToString(b)
	return nil, &s
}

func bytesOf(plain, encoded *string) ([]byte, error) {
	switch {
	case encoded != nil:
		b, err := base64.StdEncoding.DecodeString(*encoded)
		if err != nil {
			return nil, bad("%w", err)
		}
		return b, nil
	case plain != nil:
		return []byte(*plain), nil
	}
	return nil, nil
}

func recordOf(r kafkatest.Record) record {
	offset := int64(r.Offset)
	out := record{Offset: &offset, Timestamp: r.Timestamp}
	out.Key, out.KeyBase64 = textOf(r.Key)
	out.Value, out.ValueBase64 = textOf(r.Value)
	for _, h := range r.Headers {
		x := header{Key: h.Key}
		x.Value, x.ValueBase64 = textOf(h.Value)
		out.Headers = append(out.Headers, x)
	}
	return out
}

func (r *record) record() (out kafkatest.Record, err error) {
	out.Timestamp = r.Timestamp
	if out.Key, err = bytesOf(r.Key, r.KeyBase64); err != nil {
		return out, err
	}
	if out.Value, err = bytesOf(r.Value, r.ValueBase64); err != nil {
		return out, err
	}
	for _, h := range r.Headers {
		v, err := bytesOf(h.Value, h.ValueBase64)
		if err != nil {
			return out, err
		}
		out.Headers = append(out.Headers, kafkatest.Header{Key: h.Key, Value: v})
	}
	return out, nil
}

func (h *Handler) topicRoutes() {
	c := h.cluster
	h.on("GET /v1/topics", func(r *http.Request) (answer, error) {
		all, err := c.Store().ListTopics(r.Context())
		if err != nil {
			return nil, err
		}
		out := []map[string]any{}
		for _, t := range all {
			out = append(out, map[string]any{"name": t.Name, "partitions": t.Partitions})
		}
		return out, nil
	})
	h.on("POST /v1/topics", func(r *http.Request) (answer, error) {
		var in struct {
			Name              string            `json:"name"`
			Partitions        int32             `json:"partitions"`
			ReplicationFactor int16             `json:"replicationFactor"`
			Configs           map[string]string `json:"configs"`
		}
		if err := read(r, &in); err != nil {
			return nil, err
		}
		t, err := c.Server().CreateTopic(r.Context(), kafka.NewTopic{Name: in.Name, Partitions: in.Partitions, ReplicationFactor: in.ReplicationFactor, Configs: in.Configs})
		if err != nil {
			return nil, err
		}
		return map[string]any{"name": t.Name(), "partitions": t.Partitions()}, nil
	})
	h.on("DELETE /v1/topics/{topic}", func(r *http.Request) (answer, error) {
		return nil, c.Store().DeleteTopic(r.Context(), r.PathValue("topic"))
	})
	const part = "/v1/topics/{topic}/partitions/{partition}"
	h.on("GET "+part, func(r *http.Request) (answer, error) {
		tp, err := h.partition(r)
		if err != nil {
			return nil, err
		}
		leader, err := c.Leader(tp.Topic, tp.Partition)
		if err != nil {
			return nil, err
		}
		start, err := c.Store().ListOffsets(r.Context(), tp, partition.TimestampEarliest)
		if err != nil {
			return nil, err
		}
		end, err := c.Store().ListOffsets(r.Context(), tp, partition.TimestampLatest)
		if err != nil {
			return nil, err
		}
		return map[string]any{"leader": leader, "logStartOffset": start, "highWatermark": end}, nil
	})
	h.on("GET "+part+"/records", h.getRecords)
	h.on("POST "+part+"/records", h.postRecords)
	h.on("POST "+part+"/leader", func(r *http.Request) (answer, error) {
		tp, err := h.partition(r)
		if err != nil {
			return nil, err
		}
		id, err := brokerIn(r)
		if err != nil {
			return nil, err
		}
		return nil, c.MoveLeader(r.Context(), tp.Topic, tp.Partition, id)
	})
	h.on("POST "+part+"/isr", func(r *http.Request) (answer, error) {
		tp, err := h.partition(r)
		if err != nil {
			return nil, err
		}
		var in struct {
			Brokers []int32 `json:"brokers"`
		}
		if err := read(r, &in); err != nil {
			return nil, err
		}
		return nil, c.SetISR(r.Context(), tp.Topic, tp.Partition, in.Brokers...)
	})
}

// brokerIn reads {"broker": 2}.
func brokerIn(r *http.Request) (int32, error) {
	var in struct {
		Broker *int32 `json:"broker"`
	}
	if err := read(r, &in); err != nil {
		return 0, err
	}
	if in.Broker == nil {
		return 0, bad(`want {"broker": ID}`)
	}
	return *in.Broker, nil
}

// partition finds the one in the path.
func (h *Handler) partition(r *http.Request) (tp partition.TopicPartition, err error) {
	tp.Topic = r.PathValue("topic")
	if tp.Partition, err = small(r, "partition"); err != nil {
		return tp, err
	}
	t, err := h.cluster.Store().Topic(tp.Topic)
	if err == nil {
		_, err = t.Partition(tp.Partition)
	}
	if err != nil {
		return tp, fmt.Errorf("%s: %w", tp, err)
	}
	return tp, nil
}

func (h *Handler) getRecords(r *http.Request) (answer, error) {
	tp, err := h.partition(r)
	if err != nil {
		return nil, err
	}
	from, err := query(r, "offset", 0)
	if err != nil {
		return nil, err
	}
	most, err := query(r, "max", 1<<62)
	if err != nil {
		return nil, err
	}
	records := h.cluster.Records
	if r.URL.Query().Get("committed") == "true" {
		records = h.cluster.Committed
	}
	all, err := records(tp.Topic, tp.Partition)
	if err != nil {
		return nil, err
	}
	out := []record{}
	for _, rec := range all {
		if int64(rec.Offset) >= from && int64(len(out)) < most {
			out = append(out, recordOf(rec))
		}
	}
	return out, nil
}

func (h *Handler) postRecords(r *http.Request) (answer, error) {
	tp, err := h.partition(r)
	if err != nil {
		return nil, err
	}
	var in []record
	if err := read(r, &in); err != nil {
		return nil, err
	}
	if len(in) == 0 {
		return nil, bad("want an array of records")
	}
	batch := make([]kafkatest.Record, len(in))
	for i := range in {
		if batch[i], err = in[i].record(); err != nil {
			return nil, err
		}
	}
	at, err := h.cluster.Produce(r.Context(), tp.Topic, tp.Partition, batch...)
	return map[string]any{"baseOffset": at}, err
}
