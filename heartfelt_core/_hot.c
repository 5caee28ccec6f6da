// SPDX-License-Identifier: MIT
// heartfelt._hot: the base types of Hub and Heart, with their hot methods written by hand.
//
// A hot method handles one common case and nothing else: the right number of arguments, no keyword, a key that is
// watched and alive. It passes every other call, with all its arguments, to the method of the same name with an
// underscore in front, which Cython compiles (_core.pyx, _heart.pyx), and which checks, converts and raises. So the
// common case does not pay for parsing: it fetches no default, takes no reference and allocates nothing.
//
// Threads: any that may use Python objects. A hub pointer never changes once another thread can reach its object.
#include "hf_pyhot.h"

// The hub of an object before its own is set: like hf_hub_unopened, which belongs to another module.
static hf_hub unopened = {.closed = 1, .ended = 1, .clock = &unopened.own_clock};
static PyObject *name_heartbeat, *name_beat;

static HF_NOINLINE PyObject *call_cold(PyObject *name, PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                                       PyObject *kwnames) {
  PyObject *all[8];
  Py_ssize_t n = nargs + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0);
  if (n + 1 > (Py_ssize_t)(sizeof all / sizeof *all))
    return PyErr_Format(PyExc_TypeError, "too many arguments: %zd", n);
  all[0] = self;
  for (Py_ssize_t i = 0; i < n; i++) all[i + 1] = args[i];
  return PyObject_VectorcallMethod(name, all, (size_t)nargs + 1, kwnames);
}

// Beats by hash: the argument is not the object that stands for a watched key. It may equal one, or be no key at all.
static HF_NOINLINE PyObject *beat_by_hash(PyObject *self, PyObject *const *args, int64_t now_ns) {
  hf_hub *hub = ((hf_hot_hub *)self)->hub;
  PyObject *key = args[0];
  uint64_t hash;
  hf_key_status found = hf_key_hash(key, &hash);
  if (found == HF_KEY_ERROR) return NULL;
  hf_status status = HF_SLOW;
  if (HF_LIKELY(found == HF_KEY_OK)) {
#if !HF_PARALLEL
    bool lasts = Py_REFCNT(key) > 2;  // more references than this call's and a variable of the caller's
    if (HF_LIKELY(hf_hub_has_hints(hub)))
      status = hf_hub_beat_past_hint(hub, key, hash, hf_key_equal, lasts, now_ns);
    else
#endif
      status = hf_hub_beat(hub, key, hash, hf_key_equal, now_ns);
  }
  if (HF_LIKELY(status == HF_OK)) Py_RETURN_NONE;
  return call_cold(name_heartbeat, self, args, 1, NULL);
}

static PyObject *hub_heartbeat(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  if (HF_UNLIKELY(nargs != 1 || kwnames)) return call_cold(name_heartbeat, self, args, nargs, kwnames);
  hf_hub *hub = ((hf_hot_hub *)self)->hub;
#if HF_PARALLEL
  return beat_by_hash(self, args, hf_hub_beat_time(hub));
#else
  hf_hot *hinted = NULL;
  if (HF_LIKELY(hf_hub_has_hints(hub))) {
    hinted = hf_hub_hinted(hub, args[0]);
    HF_PREFETCH(hinted);  // it arrives while the clock is read
  }
  int64_t now_ns = hf_hub_beat_time(hub);
  if (HF_LIKELY(hinted && HF_LOAD_RLX(&hinted->key) == (uintptr_t)args[0] && !HF_LOAD_RLX(&hub->closed)))
    if (HF_LIKELY(hf_hot_beat_alive(hinted, now_ns, hub->config.light) == HF_OK)) Py_RETURN_NONE;
  return beat_by_hash(self, args, now_ns);
#endif
}

static PyObject *heart_beat(PyObject *self, PyObject *unused) {
  (void)unused;
  hf_hot_heart *heart = (hf_hot_heart *)self;
  if (HF_LIKELY(hf_hub_beat_handle(heart->hub, &heart->handle, hf_hub_beat_time(heart->hub)) == HF_OK)) Py_RETURN_NONE;
  return PyObject_CallMethodNoArgs(self, name_beat);
}

static PyObject *heart_call(PyObject *self, PyObject *args, PyObject *kwargs) {
  if (PyTuple_GET_SIZE(args) || (kwargs && PyDict_GET_SIZE(kwargs))) {
    PyErr_SetString(PyExc_TypeError, "a heart takes no arguments: heart() beats");
    return NULL;
  }
  return heart_beat(self, NULL);
}

static PyObject *hub_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
  (void)args, (void)kwargs;
  PyObject *self = type->tp_alloc(type, 0);
  if (self) ((hf_hot_hub *)self)->hub = &unopened;
  return self;
}

static PyObject *heart_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
  (void)args, (void)kwargs;
  PyObject *self = type->tp_alloc(type, 0);
  if (self) ((hf_hot_heart *)self)->hub = &unopened;
  return self;
}

static PyMethodDef hub_methods[] = {
    {"heartbeat", (PyCFunction)(void (*)(void))hub_heartbeat, METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR(
         "heartbeat(key, *, timeout=None, extra=UNSET, disposable=None)\n\n"
         "Records a beat of the key: it is alive now, and due in one timeout from now. Returns None.\n\n"
         "key: str, bytes or int (64-bit). A key that is not watched joins; the hub's terms apply unless others are\n"
         "given. A watched key keeps its terms unless others are given. timeout: seconds or timedelta, from this beat\n"
         "on. extra: any object, which the key's events carry until another is given. disposable: see HeartHub. Never\n"
         "waits for a reader or a clock; the beat of a live key takes no lock and allocates nothing. O(1). Raises\n"
         "TypeError, ConfigError (also if the key would have no timeout), HubClosed.")},
    {NULL, NULL, 0, NULL},
};

static PyMethodDef heart_methods[] = {
    {"beat", heart_beat, METH_NOARGS,
     PyDoc_STR("beat()\n\n"
               "Records a beat of the key; one that is no longer watched joins again, with the handle's terms. O(1).\n"
               "Raises HubClosed.")},
    {NULL, NULL, 0, NULL},
};

static PyTypeObject hub_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "heartfelt._hot.HotHub",
    .tp_basicsize = sizeof(hf_hot_hub),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .tp_doc = PyDoc_STR("The base of Hub: its hot method."),
    .tp_methods = hub_methods,
    .tp_new = hub_new,
};

static PyTypeObject heart_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "heartfelt._hot.HotHeart",
    .tp_basicsize = sizeof(hf_hot_heart),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .tp_doc = PyDoc_STR("The base of Heart: its hot method."),
    .tp_methods = heart_methods,
    .tp_call = heart_call,
    .tp_new = heart_new,
};

// Gives a type hot methods of its own. The interpreter specializes a method call only if the object is of exactly the
// type that the method was made for, so each subclass gets its own hot methods, unless it has overridden them.
static int own_methods(PyTypeObject *type, PyTypeObject *base, PyMethodDef *methods) {
  for (; methods->ml_name; methods++) {
    PyObject *found = PyObject_GetAttrString((PyObject *)type, methods->ml_name);
    PyObject *inherited = PyObject_GetAttrString((PyObject *)base, methods->ml_name);
    bool own = found && inherited && Py_TYPE(found) == &PyMethodDescr_Type &&
               ((PyMethodDescrObject *)found)->d_method == ((PyMethodDescrObject *)inherited)->d_method;
    Py_XDECREF(found);
    Py_XDECREF(inherited);
    if (!found || !inherited) return -1;
    if (!own) continue;
    PyObject *method = PyDescr_NewMethod(type, methods);
    if (!method) return -1;
    int failed = type->tp_flags & Py_TPFLAGS_HEAPTYPE
                     ? PyObject_SetAttrString((PyObject *)type, methods->ml_name, method)
                     : PyDict_SetItemString(type->tp_dict, methods->ml_name, method);
    PyType_Modified(type);
    Py_DECREF(method);
    if (failed) return -1;
  }
  return 0;
}

static PyObject *own_hot_methods(PyObject *module, PyObject *type) {
  (void)module;
  if (!PyType_Check(type)) return PyErr_Format(PyExc_TypeError, "own_hot_methods takes a class, not %R", type);
  int failed = 0;
  if (PyType_IsSubtype((PyTypeObject *)type, &hub_type))
    failed = own_methods((PyTypeObject *)type, &hub_type, hub_methods);
  if (!failed && PyType_IsSubtype((PyTypeObject *)type, &heart_type))
    failed = own_methods((PyTypeObject *)type, &heart_type, heart_methods);
  if (failed) return NULL;
  Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"own_hot_methods", own_hot_methods, METH_O,
     PyDoc_STR("own_hot_methods(type)\n\nGives a subclass of HotHub or HotHeart hot methods of its own.")},
    {NULL, NULL, 0, NULL},
};

// The types and names here belong to the whole process, and so do the generated modules'. And a subinterpreter cannot
// end while one of Python's threads runs, which a hub has for callbacks: Python would end the process.
static int exec_module(PyObject *module) {
  if (PyInterpreterState_Get() != PyInterpreterState_Main()) {
    PyErr_SetString(PyExc_ImportError,
                    "heartfelt works in the main interpreter only; this is a subinterpreter"
                    " (with mod_wsgi, set WSGIApplicationGroup %{GLOBAL})");
    return -1;
  }
  name_heartbeat = PyUnicode_InternFromString("_heartbeat");
  name_beat = PyUnicode_InternFromString("_beat");
  if (!name_heartbeat || !name_beat) return -1;
  if (PyModule_AddType(module, &hub_type) < 0) return -1;
  return PyModule_AddType(module, &heart_type);
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, exec_module},
#ifdef Py_mod_gil
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
#ifdef Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
    {0, NULL},
};

static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "heartfelt._hot",
    .m_doc = PyDoc_STR("The base types of Hub and Heart, with their hot methods."),
    .m_methods = functions,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__hot(void) { return PyModuleDef_Init(&definition); }
