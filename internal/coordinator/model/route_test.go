package model

import (
	"reflect"
	"testing"
	"time"
)

// TestRoutesDifferInEveryField makes sure that a change of any field is written:
// records that are equal are not.
func TestRoutesDifferInEveryField(t *testing.T) {
	var r Route
	if !r.Equal(Route{}) {
		t.Fatal("two empty routes differ")
	}
	for i := range reflect.TypeFor[Route]().NumField() {
		var o Route
		f := reflect.ValueOf(&o).Elem().Field(i)
		switch f.Interface().(type) {
		case string, RouteState:
			f.SetString("x")
		case int64, time.Duration:
			f.SetInt(1)
		case bool:
			f.SetBool(true)
		case time.Time:
			f.Set(reflect.ValueOf(time.Unix(1, 0)))
		case []string:
			f.Set(reflect.ValueOf([]string{"x"}))
		default:
			t.Fatalf("field %s is of a type that this test does not know", reflect.TypeFor[Route]().Field(i).Name)
		}
		if r.Equal(o) || o.Equal(r) {
			t.Errorf("routes that differ in %s are taken for equal", reflect.TypeFor[Route]().Field(i).Name)
		}
	}
}
