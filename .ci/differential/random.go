package main

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// random sends n requests that are drawn from a seed: each is drawn twice, with the same draws, as ids are each broker's own.
func (r *run) random(seed uint64, n int) {
	var wheel []drawn
	for _, d := range drawns {
		for range d.often {
			wheel = append(wheel, d)
		}
	}
	draw := rand.New(rand.NewPCG(seed, 0))
	for i := range n {
		d := wheel[draw.IntN(len(wheel))]
		version := d.from + int16(draw.IntN(int(d.to-d.from)+1))
		if draw.IntN(50) == 0 { // one that the brokers do not have
			version = d.to + 1
		}
		build := func(s *side) kmsg.Request {
			g := generator{rand.New(rand.NewPCG(seed, uint64(i)+1)), s, kmsg.NameForKey(d.key)}
			req := kmsg.RequestForKey(d.key)
			req.SetVersion(version)
			g.fill(reflect.ValueOf(req).Elem())
			if d.fix != nil {
				d.fix(g.Rand, req, s)
			}
			oldOffsets(req)
			return req
		}
		what := fmt.Sprintf("%d: %s %d %s", i, kmsg.NameForKey(d.key), version, asked(build(r.kafka)))
		ask := func(s *side) kmsg.Response {
			req := build(s)
			resp := s.send(version, req)
			if d.after != nil {
				d.after(s, req, resp)
			}
			return resp
		}
		if d.change || d.write {
			r.both(what, ask)
		} else {
			r.read(what, ask)
		}
		if d.change {
			r.barrier()
			r.each((*side).learn)
		}
	}
}

func asked(req kmsg.Request) string {
	return strings.ReplaceAll(fmt.Sprintf("%+v", dump(reflect.ValueOf(req))), "UnknownTags:{}", "")
}

type generator struct {
	*rand.Rand
	s       *side
	request string
}

// fill draws the fields of a struct.
func (g *generator) fill(v reflect.Value) {
	if d, ok := v.Addr().Interface().(interface{ Default() }); ok {
		d.Default()
	}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.IsExported() && f.Name != "Version" && f.Name != "UnknownTags" {
			g.draw(f.Name, v.Field(i))
		}
	}
}

func (g *generator) draw(name string, v reflect.Value) {
	if v.Kind() == reflect.Slice && v.Type().Elem().Kind() != reflect.Uint8 {
		g.list(name, v)
		return
	}
	if v.Kind() == reflect.Struct {
		g.fill(v)
		return
	}
	if v.Kind() == reflect.Bool {
		v.SetBool(g.IntN(2) == 0)
		return
	}
	pool := pools[g.request+"."+name]
	if pool == nil {
		pool = pools[name]
	}
	if len(pool) == 0 {
		return
	}
	x := pool[g.IntN(len(pool))]
	switch {
	case v.Type() == reflect.TypeFor[[16]byte]():
		id := g.s.topic[fmt.Sprint(x)]
		if x == "unknown" {
			id = unknownID
		}
		v.Set(reflect.ValueOf(id))
	case v.Kind() == reflect.Pointer && v.Type().Elem().Kind() == reflect.String:
		if x == nil {
			v.SetZero()
		} else {
			text := fmt.Sprint(x)
			v.Set(reflect.ValueOf(&text))
		}
	case v.Kind() == reflect.String:
		if x == nil {
			x = ""
		}
		v.SetString(fmt.Sprint(x))
	case v.CanInt():
		if n, ok := x.(int); ok {
			v.SetInt(int64(n))
		}
	case v.CanFloat():
		v.SetFloat(float64(1000 * g.IntN(3)))
	}
}

// list draws null, empty, or some elements, all with different names.
func (g *generator) list(name string, v reflect.Value) {
	n := g.IntN(9)
	if n < 2 && name == "Partitions" {
		n = 2 // Kafka leaves topics without partitions out of answers
	}
	switch n {
	case 0:
		v.SetZero()
		return
	case 1:
		v.Set(reflect.MakeSlice(v.Type(), 0, 0))
		return
	}
	seen := map[string]bool{}
	all := reflect.MakeSlice(v.Type(), 0, 0)
	for range 1 + n%3 {
		one := reflect.New(v.Type().Elem()).Elem()
		if one.Kind() == reflect.Struct {
			g.fill(one)
		} else {
			g.draw(name, one)
		}
		if id := firsts(one); !seen[id] || one.Kind() == reflect.Struct && one.FieldByName("TopicID").IsValid() && name == "Topics" && g.request == "Fetch" {
			seen[id] = true
			all = reflect.Append(all, one)
		}
	}
	v.Set(all)
}

// firsts is what tells the elements of a request apart.
func firsts(v reflect.Value) string {
	if v.Kind() != reflect.Struct {
		return fmt.Sprint(v.Interface())
	}
	var parts []string
	for i := range v.NumField() {
		f := v.Field(i)
		if slices.Contains([]string{"Topic", "Partition", "Group", "Name", "ResourceName", "ResourceType", "EntityType", "Type", "Key", "User", "MemberID", "Entity"}, v.Type().Field(i).Name) {
			parts = append(parts, fmt.Sprint(dump(f)))
		}
	}
	return strings.Join(parts, "/")
}
