/** How each parameter of the vocabulary looks: its short label, its colour, its digits. */

export interface Look {
  label: string;
  /** Name of the CSS colour, by the custom of bedside monitors. */
  hue: string;
  digits: number;
}

const look = (label: string, hue: string, digits = 0): Look => ({ label, hue, digits });

export const LOOKS: Record<string, Look> = {
  heart_rate: look('HR', 'hr'),
  pulse_rate: look('PR', 'spo2'),
  spo2: look('SpO₂', 'spo2'),
  respiratory_rate: look('RR', 'rr'),
  temperature: look('T', 'temp', 1),
  nibp_systolic: look('NIBP sys', 'nibp'),
  nibp_diastolic: look('NIBP dia', 'nibp'),
  nibp_mean: look('NIBP mean', 'nibp'),
  arterial_systolic: look('ART sys', 'art'),
  arterial_diastolic: look('ART dia', 'art'),
  arterial_mean: look('ART mean', 'art'),
  cvp: look('CVP', 'cvp'),
  etco2: look('etCO₂', 'co2'),
  fio2: look('FiO₂', 'gas'),
  fio2_set: look('FiO₂ set', 'gas'),
  o2_flow: look('O₂', 'gas', 1),
  glucose: look('Glucose', 'lab', 1),
  glucose_capillary: look('Glucose', 'lab', 1),
  gcs_total: look('GCS', 'lab'),
  acvpu: look('ACVPU', 'lab'),
  urine_output: look('Urine', 'lab'),
  peep: look('PEEP', 'vent', 1),
  tidal_volume: look('VT', 'vent'),
  tidal_volume_set: look('VT set', 'vent'),
  peak_inspiratory_pressure: look('Ppeak', 'vent'),
  plateau_pressure: look('Pplat', 'vent'),
  minute_volume: look('MV', 'vent', 1),
  ventilator_rate: look('f vent', 'vent'),
  pump_flow_rate: look('Rate', 'pump', 1),
  pump_dose_rate: look('Dose', 'pump', 2),
  pump_volume_infused: look('Infused', 'pump', 1),
  pump_volume_total: look('Total', 'pump', 1),
  pump_volume_set: look('VTBI', 'pump', 1),
  pump_volume_remaining: look('Left', 'pump', 1),
  pump_drug: look('Drug', 'pump'),
  pump_drug_concentration: look('Conc', 'pump', 2),
  pump_pressure: look('Line', 'pump'),
  pump_status: look('Status', 'pump'),
  pump_mode: look('Mode', 'pump'),
  occlusion: look('Occlusion', 'pump'),
  air_in_line: look('Air', 'pump'),
  battery: look('Bat', 'lab'),
};

const PLAIN: Look = { label: '', hue: 'lab', digits: 1 };

export function lookOf(parameter: string): Look {
  return LOOKS[parameter] ?? { ...PLAIN, label: parameter.replaceAll('_', ' ') };
}

/** What is measured now and then; its age is normal and always shown. */
export const SPOT = new Set([
  'nibp_systolic', 'nibp_diastolic', 'nibp_mean', 'temperature', 'glucose', 'glucose_capillary', 'acvpu', 'gcs_total',
]);

const UNITS: Record<string, string> = {
  'mm[Hg]': 'mmHg', 'cm[H2O]': 'cmH₂O', Cel: '°C', '[degF]': '°F', 'ug/kg/min': 'µg/kg/min', '{score}': '',
  '{pleth}': '', '{respiration}': '',
};

export function unitText(unit: string): string {
  return UNITS[unit] ?? unit;
}
