package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"time"
)

var (
	errBadRequest = errors.New("bad request")
	errNotThere   = errors.New("not there")
	errTimeout    = errors.New("the time is over")
	errUnexpected = errors.New("not as expected")
)

// bad is a mistake of the client.
func bad(format string, args ...any) error {
	return fmt.Errorf("%w: %w", errBadRequest, fmt.Errorf(format, args...))
}

// answer is what a function behind a route returns as JSON. nil is {}.
type answer = any

// on answers a route by a function.
func (h *Handler) on(pattern string, f func(r *http.Request) (answer, error)) {
	h.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		out, err := f(r)
		if err != nil {
			fail(w, status(err), err)
			return
		}
		if out == nil {
			out = struct{}{}
		}
		b, err := json.Marshal(out)
		if err != nil {
			fail(w, http.StatusInternalServerError, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		w.Write(append(b, '\n'))
	})
}

func fail(w http.ResponseWriter, code int, err error) {
	b, _ := json.Marshal(map[string]string{"error": err.Error()}) // strings always marshal
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	w.Write(append(b, '\n'))
}

// read reads the body, which is JSON if there is one. A field that is not known is a mistake.
func read(r *http.Request, into any) error {
	if t := r.Header.Get("Content-Type"); t != "" { // a form of a page cannot say application/json
		if media, _, err := mime.ParseMediaType(t); err != nil || media != "application/json" {
			return bad("the Content-Type is to be application/json, not %s", t)
		}
	}
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if err == io.EOF {
		return nil // no body: all defaults
	}
	if err == nil && d.More() {
		err = errors.New("something follows the JSON value")
	}
	if err != nil {
		return bad("the body is not what it should be: %w", err)
	}
	return nil
}

// span is a time as JSON has it: "1.5s", or a number of milliseconds.
type span time.Duration

// UnmarshalJSON reads both.
func (s *span) UnmarshalJSON(b []byte) error {
	var ms float64
	if json.Unmarshal(b, &ms) == nil {
		*s = span(ms * float64(time.Millisecond))
		return nil
	}
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return errors.New(`want a time such as "1.5s", or milliseconds`)
	}
	d, err := time.ParseDuration(text)
	*s = span(d)
	return err
}

// number reads a part of the path.
func number(r *http.Request, name string) (int64, error) {
	n, err := strconv.ParseInt(r.PathValue(name), 10, 64)
	if err != nil {
		return 0, bad("%q is no number", r.PathValue(name))
	}
	return n, nil
}

// small is number for ids and partitions.
func small(r *http.Request, name string) (int32, error) {
	n, err := number(r, name)
	if err == nil && n != int64(int32(n)) {
		err = bad("%d is too large", n)
	}
	return int32(n), err
}

// query reads a number of the query, with its default.
func query(r *http.Request, name string, otherwise int64) (int64, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, bad("%s=%s: want a number", name, text)
	}
	return n, nil
}

// patience is a context that ends with the request, or when its query's timeout is over; default 30 s.
func patience(r *http.Request) (context.Context, context.CancelFunc, error) {
	d := 30 * time.Second
	if text := r.URL.Query().Get("timeout"); text != "" {
		var err error
		if d, err = time.ParseDuration(text); err != nil {
			return nil, nil, bad("timeout=%s: want a time such as 5s", text)
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), d)
	return ctx, cancel, nil
}

// late marks the end of patience.
func late(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w: %w", errTimeout, err)
	}
	return err
}
