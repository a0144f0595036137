package control

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/partlog/partlog/kafka/kafkatest"
)

// expectRoutes are what a test waits for, and what it looks at afterwards.
func (h *Handler) expectRoutes() {
	c := h.cluster
	h.on("GET /v1/groups/{group}/lag", func(r *http.Request) (answer, error) {
		lag, err := c.Lag(r.Context(), r.PathValue("group"), topicsOf(r)...)
		if err != nil {
			return nil, err
		}
		out := []map[string]any{}
		for tp, n := range lag {
			out = append(out, map[string]any{"topic": tp.Topic, "partition": tp.Partition, "lag": n})
		}
		return out, nil
	})
	h.on("GET /v1/groups/{group}/wait-lag-zero", func(r *http.Request) (answer, error) {
		ctx, cancel, err := patience(r)
		if err != nil {
			return nil, err
		}
		defer cancel()
		return nil, late(c.WaitLagZero(ctx, r.PathValue("group"), topicsOf(r)...))
	})
	h.on("GET /v1/groups/{group}/wait-stable", func(r *http.Request) (answer, error) {
		n, err := query(r, "members", 1)
		if err != nil {
			return nil, err
		}
		ctx, cancel, err := patience(r)
		if err != nil {
			return nil, err
		}
		defer cancel()
		return nil, late(c.WaitStable(ctx, r.PathValue("group"), int(n)))
	})
	h.on("GET /v1/groups/{group}/offsets", func(r *http.Request) (answer, error) {
		offsets, err := c.CommittedOffsets(r.Context(), r.PathValue("group"))
		if err != nil {
			return nil, err
		}
		out := []map[string]any{}
		for tp, o := range offsets {
			out = append(out, map[string]any{"topic": tp.Topic, "partition": tp.Partition, "offset": o})
		}
		return out, nil
	})
	h.on("GET /v1/groups/{group}/history", func(r *http.Request) (answer, error) {
		out := []map[string]any{}
		for _, e := range c.GroupHistory(r.PathValue("group")) {
			out = append(out, map[string]any{"time": e.At.UTC().Format(time.RFC3339Nano), "generation": e.Generation, "members": e.Members, "what": e.What})
		}
		return out, nil
	})
	h.on("GET /v1/topics/{topic}/wait-records", func(r *http.Request) (answer, error) {
		n, err := query(r, "count", 1)
		if err != nil {
			return nil, err
		}
		ctx, cancel, err := patience(r)
		if err != nil {
			return nil, err
		}
		defer cancel()
		all, err := c.WaitRecords(ctx, r.PathValue("topic"), int(n))
		if err != nil {
			return nil, late(err)
		}
		out := []record{}
		for _, rec := range all {
			out = append(out, recordOf(rec))
		}
		return out, nil
	})
	h.on("POST /v1/topics/{topic}/check-delivered", h.checkDelivered)
	h.on("POST /v1/topics/{topic}/records", func(r *http.Request) (answer, error) {
		n, err := c.LoadJSON(r.Context(), r.PathValue("topic"), r.Body)
		if err != nil {
			return nil, bad("%w", err)
		}
		return map[string]int{"records": n}, nil
	})
	h.mux.HandleFunc("GET /v1/topics/{topic}/records", func(w http.ResponseWriter, r *http.Request) {
		var lines bytes.Buffer
		if err := c.DumpJSON(r.PathValue("topic"), &lines); err != nil {
			fail(w, status(err), err)
			return
		}
		w.Header().Set("Content-Type", "application/x-ndjson")
		w.Write(lines.Bytes())
	})
	h.mux.HandleFunc("GET /v1/transcript", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_ = c.WriteTranscript(w) // the client has gone
	})
	h.on("GET /v1/calls/wait", func(r *http.Request) (answer, error) {
		n, err := query(r, "count", 1)
		if err != nil {
			return nil, err
		}
		ctx, cancel, err := patience(r)
		if err != nil {
			return nil, err
		}
		defer cancel()
		q := r.URL.Query()
		f := kafkatest.CallFilter{API: q.Get("api"), ClientID: q.Get("clientId")}
		if _, err := c.Requests(f); err != nil {
			return nil, bad("%w", err)
		}
		all, err := c.WaitRequests(ctx, f, int(n))
		if err != nil {
			return nil, late(err)
		}
		out := []callView{}
		for i := range all {
			out = append(out, viewCall(&all[i], true))
		}
		return out, nil
	})
}

// topicsOf are those of the query, with commas between.
func topicsOf(r *http.Request) []string {
	return strings.FieldsFunc(r.URL.Query().Get("topics"), func(c rune) bool { return c == ',' })
}

// checkDelivered compares what was sent, the body, with what the topic has: each record once, and in the order of its key.
func (h *Handler) checkDelivered(r *http.Request) (answer, error) {
	var in []record
	if err := read(r, &in); err != nil {
		return nil, err
	}
	sent := make([]kafkatest.Record, len(in))
	for i := range in {
		var err error
		if sent[i], err = in[i].record(); err != nil {
			return nil, err
		}
	}
	got, err := h.cluster.TopicRecords(r.PathValue("topic"))
	if err != nil {
		return nil, err
	}
	if err := kafkatest.CheckDelivered(sent, got); err != nil {
		return nil, fmt.Errorf("%w: %w", errUnexpected, err)
	}
	return map[string]json.Number{"records": json.Number(fmt.Sprint(len(got)))}, nil
}
